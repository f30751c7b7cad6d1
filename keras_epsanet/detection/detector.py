"""What all detectors share: inputs, metrics of the losses, predictions."""

import keras
from keras import ops

from keras_epsanet.detection.nms import non_max_suppression
from keras_epsanet.distribution import num_replicas
from keras_epsanet.training.replicas import sum_over_replicas

CORNERS = "xyxy"
TARGETS = ("boxes", "labels", "masks", "mask_grids")


class Detector(keras.Model):
    """Functional network that `fit` trains with losses of its own.

    A subclass has the attribute `LOSSES`, names of its losses, and two
    methods: `compute_losses(images, targets, outputs)` returns a dictionary
    from the names to scalars, divided so that their sums over the replicas
    are the losses of the whole batch; `decode(images, outputs)` returns the
    dictionary of `predict`. Boxes are corners in both.

    Args:
        backbone: Functional model with `pyramid_outputs`.
        num_classes: Integer, number of classes without background.
        outputs: Dictionary of Keras tensors, made from the backbone's.
        bounding_box_format: Format of boxes, as in
            `keras.utils.bounding_boxes`, for training and prediction.
        confidence_threshold: Float, score that a prediction must exceed.
        iou_threshold: Float, IoU above which the lower of two predictions of
            a class is dropped.
        max_detections: Integer, most predictions for one image.
        **kwargs: As in `keras.Model`.

    Raises:
        ValueError: If a number is out of range.
    """

    LOSSES = ()

    def __init__(
        self,
        backbone,
        num_classes,
        outputs,
        *,
        bounding_box_format=CORNERS,
        confidence_threshold=0.05,
        iou_threshold=0.5,
        max_detections=100,
        **kwargs,
    ):
        if not isinstance(max_detections, int) or max_detections < 1:
            raise ValueError(
                "`max_detections` must be a positive integer. "
                f"Received: max_detections={max_detections}"
            )
        for name, value in (
            ("confidence_threshold", confidence_threshold),
            ("iou_threshold", iou_threshold),
        ):
            if not 0 <= value <= 1:
                raise ValueError(
                    f"`{name}` must be a number from 0 to 1. "
                    f"Received: {name}={value}"
                )
        super().__init__(backbone.input, outputs, **kwargs)
        self.backbone = backbone
        self.num_classes = num_classes
        self.bounding_box_format = bounding_box_format
        self.confidence_threshold = confidence_threshold
        self.iou_threshold = iou_threshold
        self.max_detections = max_detections
        self._loss_means = [
            keras.metrics.Mean(name=name) for name in self.LOSSES
        ]

    def compile(self, optimizer="rmsprop", **kwargs):
        """Configures the training, as `keras.Model.compile` does.

        Args:
            optimizer: A Keras optimizer.
            **kwargs: Further arguments of `keras.Model.compile`, but for
                losses and metrics, which belong to the detector.

        Raises:
            ValueError: If losses or metrics are given.
        """
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if kwargs.get(name) is not None:
                raise ValueError(
                    f"{type(self).__name__} has losses and metrics of its "
                    f"own. Received: {name}={kwargs[name]}"
                )
        super().compile(optimizer, **kwargs)

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    # The last argument is the data, on JAX there is a state before.
    def train_step(self, *args):
        return super().train_step(*args[:-1], _as_pair(args[-1]))

    def test_step(self, *args):
        return super().test_step(*args[:-1], _as_pair(args[-1]))

    def predict_step(self, *args):
        images, _ = _as_pair(args[-1])
        outputs = super().predict_step(*args[:-1], (images,))
        if keras.backend.backend() != "jax":
            return self._predictions(images, outputs)
        outputs, others = outputs
        variables = (self.trainable_variables, self.non_trainable_variables)
        values = (args[0][0], others)
        mapping = [
            pair for pairs in zip(variables, values) for pair in zip(*pairs)
        ]
        with keras.StatelessScope(state_mapping=mapping):
            return self._predictions(images, outputs), others

    def _predictions(self, images, outputs):
        predictions = self.decode(images, outputs)
        height, width = ops.shape(images)[1:3]
        boxes = keras.utils.bounding_boxes.convert_format(
            predictions["boxes"],
            source=CORNERS,
            target=self.bounding_box_format,
            height=height,
            width=width,
        )
        found = ops.arange(ops.shape(boxes)[1])[None, :, None]
        found = found < predictions["num_detections"][:, None, None]
        return {**predictions, "boxes": ops.where(found, boxes, -1.0)}

    def compute_loss(self, x, y, y_pred, sample_weight=None, **kwargs):
        height, width = ops.shape(x)[1:3]
        boxes = keras.utils.bounding_boxes.convert_format(
            ops.cast(y["boxes"], "float32"),
            source=self.bounding_box_format,
            target=CORNERS,
            height=height,
            width=width,
        )
        labels = ops.cast(y["labels"], "int32")
        targets = {**y, "boxes": boxes, "labels": labels}
        losses = self.compute_losses(x, targets, y_pred)
        images = ops.cast(ops.shape(x)[0], "float32")
        of_batch = sum_over_replicas([losses[name] for name in self.LOSSES])
        for mean, value in zip(self._loss_means, of_batch):
            mean.update_state(value, images)
        loss = sum(losses.values())
        number = num_replicas(_strategy())
        if number > 1:
            # The value is that of the whole batch on every replica, for Keras
            # takes the mean by their images; the gradient is the replica's.
            loss += ops.stop_gradient(sum(of_batch) / number - loss)
        return loss

    def suppress(self, boxes, scores, classes):
        """The best boxes as the dictionary of `predict`."""
        kept, number = non_max_suppression(
            boxes,
            scores,
            classes,
            self.iou_threshold,
            self.max_detections,
            self.confidence_threshold,
        )
        found = ops.arange(self.max_detections)[None] < number[:, None]

        def take(values):
            return ops.where(found, ops.take_along_axis(values, kept, 1), -1)

        return {
            "boxes": ops.take_along_axis(boxes, kept[..., None], axis=1),
            "confidence": take(scores),
            "labels": take(classes),
            "num_detections": number,
        }

    def get_config(self):
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "bounding_box_format": self.bounding_box_format,
            "confidence_threshold": self.confidence_threshold,
            "iou_threshold": self.iou_threshold,
            "max_detections": self.max_detections,
            "name": self.name,
            "trainable": self.trainable,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        config["backbone"] = keras.saving.deserialize_keras_object(
            config["backbone"], custom_objects=custom_objects
        )
        return cls(**config)


def _strategy():
    """The strategy that runs this, where each replica has its own loss."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    return tf.distribute.get_strategy()


def check_num_classes(num_classes):
    """Raises a `ValueError` unless it is a number of classes."""
    if not isinstance(num_classes, int) or num_classes < 1:
        raise ValueError(
            "`num_classes` must be a positive integer. "
            f"Received: num_classes={num_classes}"
        )


def _as_pair(data):
    """Images and targets, if there are any, of each form of a batch."""
    if isinstance(data, (list, tuple)) and isinstance(data[0], dict):
        (data,) = data  # Keras makes it of arrays.
    if not isinstance(data, dict):
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        if weights is not None:
            raise ValueError(
                "Detectors have no sample weights. "
                f"Received: sample_weight={weights}"
            )
        return x, y
    targets = {k: v for k, v in data.items() if k in TARGETS}
    return data["images"], targets
