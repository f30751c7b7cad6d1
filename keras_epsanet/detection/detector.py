"""What all detectors share: inputs, metrics of the losses, predictions."""

import keras
from keras import ops

from keras_epsanet.training.replicas import sum_over_replicas

CORNERS = "xyxy"


class Detector(keras.Model):
    """Functional network that `fit` trains with losses of its own.

    A subclass has the attributes `LOSSES`, names of its losses, and
    `num_classes`, and two methods: `compute_losses(images, boxes, labels,
    outputs)` returns a dictionary from the names to scalars, divided so that
    their sums over the replicas are the losses of the whole batch;
    `decode(images, outputs)` returns the dictionary of `predict`, with boxes
    as corners.

    Args:
        bounding_box_format: Format of boxes, as in
            `keras.utils.bounding_boxes`, for training and prediction.
        **kwargs: As in `keras.Model`.
    """

    LOSSES = ()

    def __init__(self, *args, bounding_box_format=CORNERS, **kwargs):
        super().__init__(*args, **kwargs)
        self.bounding_box_format = bounding_box_format
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
        if keras.backend.backend() == "jax":
            outputs, state = outputs
            return self._predictions(images, outputs), state
        return self._predictions(images, outputs)

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
        losses = self.compute_losses(x, boxes, labels, y_pred)
        images = ops.cast(ops.shape(x)[0], "float32")
        of_batch = sum_over_replicas([losses[name] for name in self.LOSSES])
        for mean, value in zip(self._loss_means, of_batch):
            mean.update_state(value, images)
        return sum(losses.values())


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
    targets = {k: v for k, v in data.items() if k in ("boxes", "labels")}
    return data["images"], targets
