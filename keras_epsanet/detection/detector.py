"""What all detectors share: inputs, metrics of the losses, predictions."""

import keras
from keras import ops

from keras_epsanet.detection import boxes as box_ops
from keras_epsanet.detection.batches import (
    as_pair,
    at_least_one_object,
    image_sizes,
)
from keras_epsanet.detection.nms import best_detections
from keras_epsanet.detection.predictor import export
from keras_epsanet.detection.pretrained import PretrainedModel
from keras_epsanet.detection.settings import (
    Setting,
    box_format,
    check_class_names,
    integer_from,
    share,
    two_sides,
)
from keras_epsanet.distribution.replicas import (
    current_strategy,
    num_replicas,
    sum_over_replicas,
)

CORNERS = "xyxy"


class Detector(PretrainedModel):
    """Functional network that `fit` trains with losses of its own.

    A subclass has the attributes `LOSSES`, names of its losses, and
    `NEEDED`, names of the targets that it learns from, and two methods:
    `compute_losses(images, targets, outputs)` returns a dictionary from the
    names to scalars, divided so that their sums over the replicas are the
    losses of the whole batch; `decode(images, outputs, image_size)` returns
    the dictionary of `predict`. Boxes are corners in both, and
    `image_size`, also among the targets, is the int32 tensor `(N, 2)` of
    heights and widths before padding.

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
        image_size: Pair of integers, as in `keras_epsanet.data.coco.load`:
            what `detect` resizes pictures to.
        class_names: List of `num_classes` strings, or `None`.
        **kwargs: As in `keras.Model`.

    Raises:
        ValueError: If a number is out of range.
    """

    LOSSES = ()
    # Whether a runtime without TensorFlow's operations is to run the graph.
    portable = False
    NEEDED = ("boxes", "labels")

    bounding_box_format = Setting(box_format)
    confidence_threshold = Setting(share)
    iou_threshold = Setting(share)
    max_detections = Setting(integer_from(1))
    image_size = Setting(two_sides)

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
        image_size=(800, 1333),
        class_names=None,
        **kwargs,
    ):
        super().__init__(backbone.input, outputs, **kwargs)
        self.backbone = backbone
        self.num_classes = num_classes
        self.bounding_box_format = bounding_box_format
        self.confidence_threshold = confidence_threshold
        self.iou_threshold = iou_threshold
        self.max_detections = max_detections
        self.image_size = image_size
        self.class_names = class_names
        # XLA would compile TensorFlow's steps anew for every size of images,
        # and lacks an operation of ROIAlign.
        self.supports_jit = keras.backend.backend() != "tensorflow"
        self._loss_means = [keras.metrics.Mean(name=x) for x in self.LOSSES]

    @property
    def class_names(self):
        return self._class_names

    @class_names.setter
    def class_names(self, names):
        self._class_names = check_class_names(names, self.num_classes)

    def detect(self, images, min_score=0.0, batch_size=1):
        """Finds the objects of pictures of any size.

        Each picture is resized as in training, so that its shorter side is
        `image_size[0]` pixels unless its longer side would be more than
        `image_size[1]`; it is made to fit a backbone of fixed height and
        width. `predict` runs on pictures that have one size when padded.

        Args:
            images: Path of an image file, image of Pillow, array `(H, W, 3)`
                or `(H, W, 1)` from 0 to 255, or list of them. A file is
                turned upright, an image of Pillow is taken as it is.
            min_score: Float; objects of a lower score are left out.
            batch_size: Integer, pictures that are predicted at a time.

        Returns:
            A list of dictionaries, or of one picture that is no list its
            dictionary: `boxes`, float32 `(K, 4)`, x1, y1, x2, y2 in pixels of
            the picture, the best first; `labels`, int32 `(K,)`; `scores`,
            float32 `(K,)`; `class_names`, `K` strings, if they are known;
            `masks`, boolean `(K, H, W)`, of Mask R-CNN.

        Raises:
            ValueError: If there is no picture or one of them, which is named,
                cannot be used.

        Example:

        >>> from keras_epsanet import EPSANetBackbone
        >>> from keras_epsanet.detection import RetinaNet
        >>> backbone = EPSANetBackbone.from_variant("epsanet50_small")
        >>> detector = RetinaNet(
        ...     backbone, 2, class_names=["hat", "bag"], image_size=(64, 96)
        ... )
        >>> found = detector.detect(keras.ops.ones((30, 40, 3)))
        >>> found["boxes"].shape[1], found["scores"].dtype
        (4, dtype('float32'))
        """
        # Here, for the package's import does without the data sets.
        from keras_epsanet.detection import pictures

        return pictures.detect(self, images, min_score, batch_size)

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
        arguments = keras.saving.deserialize_keras_object(config)
        # What is saved is what "auto" was for the backend at that time.
        self.compile(**{**arguments, "jit_compile": "auto"})
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    # The last argument is the data, on JAX there is a state before.
    def train_step(self, *args):
        return super().train_step(*args[:-1], as_pair(args[-1], self.NEEDED))

    def test_step(self, *args):
        return super().test_step(*args[:-1], as_pair(args[-1], self.NEEDED))

    def predict_step(self, *args):
        images, targets = as_pair(args[-1])
        sizes = image_sizes(images, targets)
        outputs = super().predict_step(*args[:-1], (images,))
        if keras.backend.backend() != "jax":
            return self.predictions(images, outputs, sizes)
        outputs, others = outputs
        variables = (self.trainable_variables, self.non_trainable_variables)
        values = (args[0][0], others)
        mapping = [
            pair for pairs in zip(variables, values) for pair in zip(*pairs)
        ]
        with keras.StatelessScope(state_mapping=mapping):
            return self.predictions(images, outputs, sizes), others

    def predictions(self, images, outputs, sizes):
        """What `predict` returns, with boxes in the format of the user."""
        predictions = self.decode(images, outputs, sizes)
        boxes = box_ops.convert(
            predictions["boxes"],
            CORNERS,
            self.bounding_box_format,
            ops.shape(images)[1:3],
        )
        found = ops.arange(ops.shape(boxes)[1])[None, :, None]
        found = found < predictions["num_detections"][:, None, None]
        return {**predictions, "boxes": ops.where(found, boxes, -1.0)}

    def compute_loss(self, x, y, y_pred, sample_weight=None, **kwargs):
        boxes = box_ops.convert(
            ops.cast(y["boxes"], "float32"),
            self.bounding_box_format,
            CORNERS,
            ops.shape(x)[1:3],
        )
        targets = {
            **y,
            "boxes": boxes,
            "labels": ops.cast(y["labels"], "int32"),
            "image_size": image_sizes(x, y),
        }
        targets = at_least_one_object(targets)
        losses = self.compute_losses(x, targets, y_pred)
        images = ops.cast(ops.shape(x)[0], "float32")
        of_batch = sum_over_replicas([losses[name] for name in self.LOSSES])
        for mean, value in zip(self._loss_means, of_batch):
            mean.update_state(value, images)
        loss = sum(losses.values())
        number = num_replicas(current_strategy())
        if number > 1:
            # The value is that of the whole batch on every replica, for Keras
            # takes the mean by their images; the gradient is the replica's.
            loss += ops.stop_gradient(sum(of_batch) / number - loss)
        return loss

    def export(
        self,
        filepath,
        format="tf_saved_model",
        verbose=None,
        input_signature=None,
        **kwargs,
    ):
        """Exports all of `predict`: images in, the dictionary out.

        On the TensorFlow backend, as `keras.Model.export` otherwise, with the
        thresholds of this moment and the class names.

        Args:
            filepath: Path of the folder or the file.
            format: `"tf_saved_model"`, `"onnx"` (float32) or `"litert"`.
            verbose: Whether Keras says what was exported.
            input_signature: List of a `keras.InputSpec`, float32
                `(N, H, W, 3)`; `None` for the backbone's. `None` as a side
                is any size, which only a SavedModel can have.
            **kwargs: As in `keras.Model.export`.

        Raises:
            ValueError: If the backend or the format cannot hold a detector,
                or ONNX or LiteRT lack the size of the images.
        """
        export(self, filepath, format, verbose, input_signature, **kwargs)

    def suppress(self, boxes, scores, classes):
        """The best boxes as the dictionary of `predict`."""
        limits = self.iou_threshold, self.max_detections
        least = self.confidence_threshold
        return best_detections(
            boxes, scores, classes, *limits, least, self.portable
        )

    def get_config(self):
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "bounding_box_format": self.bounding_box_format,
            "confidence_threshold": self.confidence_threshold,
            "iou_threshold": self.iou_threshold,
            "max_detections": self.max_detections,
            "image_size": self.image_size,
            "class_names": self.class_names,
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
