"""RetinaNet as the paper used it, MMDetection's `retinanet_r50_fpn_1x`."""

import math

import keras
from keras import ops

from keras_epsanet.detection import boxes as box_ops
from keras_epsanet.detection.anchored import AnchoredDetector, make_anchors
from keras_epsanet.detection.fpn import apply_feature_pyramid, find_features
from keras_epsanet.detection.losses import count_by_image, focal_loss
from keras_epsanet.detection.matcher import gather_objects, match
from keras_epsanet.detection.settings import (
    Setting,
    from_zero,
    integer_from,
    share,
)
from keras_epsanet.detection.top_k import top_k
from keras_epsanet.layers import GroupedConv2D
from keras_epsanet.layers.composite import initializer_of_part

LEVELS = range(3, 8)
# A quarter of the smallest size is the stride, three sizes to an octave.
SCALES = tuple(4 * 2 ** (i / 3) for i in range(3))
RATIOS = (0.5, 1.0, 2.0)
# IoU with an object: an anchor is the object's from the first on, background
# below the second.
POSITIVE, NEGATIVE = 0.5, 0.4
# Candidates of one level that are looked at in a prediction.
CANDIDATES = 1000
# The share of anchors that are taken for objects before training.
PRIOR = 0.01


@keras.saving.register_keras_serializable(package="keras_epsanet")
class RetinaNet(AnchoredDetector):
    """RetinaNet of tables 3 and 4 of the paper, for any backbone.

    [Lin et al., 2017](https://arxiv.org/abs/1708.02002) with the layout and
    settings of MMDetection: levels P3 to P7, nine anchors a pixel, two
    towers of four convolutions, focal and L1 loss, and non-maximum
    suppression in each class.

    `fit` and `evaluate` take batches that are dictionaries with `"images"`,
    `(N, H, W, 3)` as the backbone wants them, `"boxes"`, `(N, objects, 4)`
    in pixels of these images, and `"labels"`, `(N, objects)` from 0 on, -1
    for padding; or pairs of the images and a dictionary of the other two.
    In addition there may be `"image_size"`, `(N, 2)`, heights and widths
    before the images were padded at the bottom and at the right, as
    `keras_epsanet.data.coco` gives them. Anchors beyond an image's own size,
    rounded up to a multiple of 32, have no part in training; predictions
    are clipped to the own size. Without it nothing is padding.
    `predict` takes the same or images alone. It returns a dictionary, as
    KerasHub's detectors do: `"boxes"` `(N, max_detections, 4)`,
    `"confidence"` and `"labels"` `(N, max_detections)`, -1 where there is
    nothing, and `"num_detections"` `(N,)`.

    Args:
        backbone: Functional model with channels last and the dictionary
            `pyramid_outputs` from `"P3"`, `"P4"` and `"P5"` to Keras
            tensors, such as `EPSANetBackbone` or one of KerasHub's.
        num_classes: Integer, number of classes without background.
        head_initializer: Initializer of the kernels of the two towers, or
            its name; `None` means normal of 0.01, as in MMDetection. Through
            four such convolutions hardly a signal or a gradient comes: that
            suits 90,000 steps. For a short training take `"he_normal"`. The
            two convolutions behind the towers always start at 0.01.
        focal_alpha: Float, weight of the classes that there are in the focal
            loss; `1 - focal_alpha` is that of the others.
        focal_gamma: Float, how much less that loss counts what is right
            already.
        anchor_scales: Numbers, sides of the square anchors of a level in its
            strides of 8 to 128 pixels.
        anchor_ratios: Numbers, height divided by width of the anchors. Both
            are fixed when the detector is made.
        bounding_box_format: Format of the boxes in training and prediction,
            as in `keras.utils.bounding_boxes`.
        confidence_threshold: Float, score that a prediction must exceed.
        iou_threshold: Float, IoU above which the lower of two predictions of
            a class is dropped.
        max_detections: Integer, most predictions for one image.
        image_size: Pair of integers, the shorter side that `detect` resizes
            pictures to, and what the longer must not exceed, in pixels: those
            of the training.
        class_names: List of `num_classes` strings, or `None`.
        **kwargs: `name` and `trainable`, as in `keras.Model`.

    Raises:
        ValueError: If the backbone lacks a level or has channels first, or a
            number is out of range.

    Example:

    >>> from keras_epsanet import EPSANetBackbone
    >>> backbone = EPSANetBackbone.from_variant(
    ...     "epsanet50_small", freeze_stages=1, norm_eval=True
    ... )
    >>> detector = RetinaNet(backbone, num_classes=80)
    >>> detector.compile("sgd")
    >>> found = detector.predict(keras.ops.zeros((1, 64, 64, 3)), verbose=0)
    >>> found["boxes"].shape
    (1, 100, 4)
    """

    FAMILY = "retinanet"
    LOSSES = ("classification_loss", "box_loss")

    focal_alpha = Setting(share)
    focal_gamma = Setting(from_zero)

    def __init__(
        self,
        backbone,
        num_classes,
        *,
        head_initializer=None,
        focal_alpha=0.25,
        focal_gamma=2.0,
        anchor_scales=SCALES,
        anchor_ratios=RATIOS,
        **kwargs,
    ):
        num_classes = integer_from(1)("num_classes", num_classes)
        head_initializer = keras.initializers.get(head_initializer)
        levels = apply_feature_pyramid(
            find_features(backbone, ("P3", "P4", "P5")),
            LEVELS[0],
            LEVELS[-1],
            pooled=False,
        )
        strides = [2**level for level in LEVELS]
        anchors = make_anchors(strides, anchor_scales, anchor_ratios)
        outputs = {
            output: _apply_head(
                levels,
                name,
                [
                    initializer_of_part(head_initializer, part) or _normal()
                    for part in parts
                ],
                anchors.num_anchors,
                values,
                bias,
            )
            for output, name, parts, values, bias in (
                (
                    "class_logits",
                    "classification",
                    range(1, 5),
                    num_classes,
                    -math.log((1 - PRIOR) / PRIOR),
                ),
                ("box_deltas", "box", range(5, 9), 4, 0.0),
            )
        }
        super().__init__(
            backbone, num_classes, outputs, anchors=anchors, **kwargs
        )
        self.head_initializer = head_initializer
        self.focal_alpha = focal_alpha
        self.focal_gamma = focal_gamma

    def compute_losses(self, images, targets, outputs):
        """The losses by their names, as `Detector` asks for them."""
        boxes, labels = targets["boxes"], targets["labels"]
        padded = ops.shape(images)[1:3]
        anchors = ops.concatenate(self.anchor_generator(*padded))
        indices, is_object, is_background = match(
            box_ops.intersection_over_union(anchors, boxes),
            labels >= 0,
            POSITIVE,
            NEGATIVE,
            low_quality=0.0,
            candidates=self.anchor_generator.are_inside(
                *padded, targets["image_size"]
            ),
        )
        count = count_by_image(is_object)
        labels = ops.where(is_object, gather_objects(labels, indices), -1)
        logits = ops.cast(outputs["class_logits"], "float32")
        # A label of -1 is a row of zeros.
        targets = ops.one_hot(labels, self.num_classes, dtype="float32")
        losses = focal_loss(targets, logits, self.focal_alpha, self.focal_gamma)
        losses = ops.sum(losses, axis=-1)
        counted = ops.cast(is_object | is_background, "float32")
        deltas = box_ops.encode(anchors, gather_objects(boxes, indices))
        errors = ops.abs(ops.cast(outputs["box_deltas"], "float32") - deltas)
        errors = ops.where(is_object[..., None], errors, 0.0)
        return {
            "classification_loss": ops.sum(losses * counted) / count,
            "box_loss": ops.sum(errors) / count,
        }

    def decode(self, images, outputs, image_size):
        """What `predict` returns, as `Detector` asks for it."""
        return self.suppress(*self.candidates(images, outputs, image_size))

    def candidates(self, images, outputs, image_size):
        """Boxes, scores and classes, of which `predict` returns the best."""
        levels = self.anchor_generator(*ops.shape(images)[1:3])
        scores, classes, anchors, deltas = [], [], [], []
        begin = 0
        for level in levels:
            end = begin + ops.shape(level)[0]
            logits = outputs["class_logits"][:, begin:end]
            logits = ops.reshape(
                ops.cast(logits, "float32"),
                (ops.shape(images)[0], -1),
            )
            logits, chosen = top_k(logits, CANDIDATES)
            scores.append(ops.sigmoid(logits))
            classes.append(chosen % self.num_classes)
            rows = chosen // self.num_classes
            anchors.append(ops.take(level, rows, axis=0))
            deltas.append(
                ops.take_along_axis(
                    outputs["box_deltas"][:, begin:end],
                    rows[..., None],
                    axis=1,
                )
            )
            begin = end
        scores, classes, anchors, deltas = (
            ops.concatenate(x, axis=1)
            for x in (scores, classes, anchors, deltas)
        )
        boxes = box_ops.decode(anchors, ops.cast(deltas, "float32"))
        boxes = box_ops.clip(boxes, image_size)
        # Boxes beyond the image are none, as in MMDetection.
        scores = ops.where(box_ops.area(boxes) > 0, scores, -1.0)
        return boxes, scores, classes

    def get_config(self):
        return {
            **super().get_config(),
            "head_initializer": keras.initializers.serialize(
                self.head_initializer
            ),
            "focal_alpha": self.focal_alpha,
            "focal_gamma": self.focal_gamma,
        }


def _apply_head(levels, name, initializers, num_anchors, values, bias):
    """Applies a tower to all levels: `(N, anchors, values)`, float32."""
    layers = [
        _convolution(
            256,
            f"{name}_conv{i}",
            kernel_initializer=initializer,
            activation="relu",
        )
        for i, initializer in enumerate(initializers, start=1)
    ]
    layers.append(
        _convolution(
            num_anchors * values,
            f"{name}_output",
            kernel_initializer=_normal(),
            bias_initializer=keras.initializers.Constant(bias),
            dtype="float32",
        )
    )
    outputs = []
    for level, x in levels.items():
        for layer in layers:
            x = layer(x)
        outputs.append(
            keras.layers.Reshape(
                (-1, values), dtype="float32", name=f"{name}_{level}"
            )(x)
        )
    return keras.layers.Concatenate(axis=1, dtype="float32", name=name)(outputs)


def _convolution(filters, name, **kwargs):
    return GroupedConv2D(filters, 3, use_bias=True, name=name, **kwargs)


def _normal():
    return keras.initializers.RandomNormal(stddev=0.01)
