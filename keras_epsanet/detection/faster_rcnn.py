"""Faster R-CNN as the paper used it, MMDetection's `faster_rcnn_r50_fpn_1x`."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_epsanet.detection import box_head, region_proposal
from keras_epsanet.detection import boxes as box_ops
from keras_epsanet.detection.anchored import AnchoredDetector, make_anchors
from keras_epsanet.detection.fpn import apply_feature_pyramid, find_features
from keras_epsanet.detection.matcher import gather_objects, match
from keras_epsanet.detection.roi_align import pyramid_roi_align
from keras_epsanet.detection.settings import Setting, integer_from
from keras_epsanet.detection.subsampler import random_keys, sample

# Of which the heads take their features; proposals have P6 in addition.
LEVELS = ("P2", "P3", "P4", "P5")
STRIDES = (4, 8, 16, 32)
# IoU of a proposal with an object, of which it is from here on.
POSITIVE = 0.5
# Anchors of one level that become proposals at most.
TRAINING_CANDIDATES, CANDIDATES = 2000, 1000
PROPOSALS = 1000
_SEED_STATE = "seed_generator_state"


class Samples(NamedTuple):
    """Proposals from which the heads learn, those of objects first.

    Attributes:
        boxes: Float tensor `(N, samples, 4)`, corners in pixels.
        objects: Int32 tensor `(N, samples)`, indices of the objects.
        labels: Int32 tensor `(N, samples)`, background last.
        is_object: Boolean tensor `(N, samples)`.
        chosen: Boolean tensor `(N, samples)`, false for no sample.
    """

    boxes: Any
    objects: Any
    labels: Any
    is_object: Any
    chosen: Any


@keras.saving.register_keras_serializable(package="keras_epsanet")
class FasterRCNN(AnchoredDetector):
    """Faster R-CNN of table 3 of the paper, for any backbone.

    [Ren et al., 2015](https://arxiv.org/abs/1506.01497) with a feature
    pyramid, in the layout and with the settings of MMDetection. Boxes in
    training and prediction and the dictionaries are those of `RetinaNet`.

    All shapes are fixed: an image has 1,000 proposals, of which some may be
    none. A gradient goes through the classes and boxes of the proposals, not
    through their places.

    Args:
        backbone: Functional model with channels last and the dictionary
            `pyramid_outputs` from `"P2"`, `"P3"`, `"P4"` and `"P5"` to Keras
            tensors, such as `EPSANetBackbone` or one of KerasHub's.
        num_classes: Integer, number of classes without background.
        num_samples: Integer, proposals of an image from which the box head
            learns, at most a quarter of them of objects.
        sampling_ratio: Integer, samples of ROIAlign along each side of a
            bin; 0 for as many as there are pixels, as in MMDetection.
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
        seed: Integer from 0 up for the sampling, or `None` for one at random.
        anchor_scales: Numbers, sides of the square anchors of a level in its
            strides of 4 to 64 pixels.
        anchor_ratios: Numbers, height divided by width of the anchors. Both
            are fixed when the detector is made.
        **kwargs: `name` and `trainable`, as in `keras.Model`.

    Raises:
        ValueError: If the backbone lacks a level or has channels first, or a
            number is out of range.

    Example:

    >>> from keras_epsanet import EPSANetBackbone
    >>> backbone = EPSANetBackbone.from_variant(
    ...     "epsanet50_small", freeze_stages=1, norm_eval=True
    ... )
    >>> detector = FasterRCNN(backbone, num_classes=80)
    >>> detector.compile("sgd")
    >>> found = detector.predict(keras.ops.zeros((1, 64, 64, 3)), verbose=0)
    >>> found["boxes"].shape
    (1, 100, 4)
    """

    FAMILY = "faster_rcnn"
    LOSSES = (
        "rpn_classification_loss",
        "rpn_box_loss",
        "classification_loss",
        "box_loss",
    )
    # Least IoU of an object with its best proposals for it to get them.
    LOW_QUALITY = None

    num_samples = Setting(integer_from(4))
    sampling_ratio = Setting(integer_from(0))

    def __init__(
        self,
        backbone,
        num_classes,
        *,
        num_samples=512,
        sampling_ratio=2,
        seed=None,
        anchor_scales=region_proposal.ANCHORS.scales,
        anchor_ratios=region_proposal.ANCHORS.ratios,
        **kwargs,
    ):
        num_classes = integer_from(1)("num_classes", num_classes)
        features = find_features(backbone, LEVELS)
        levels = apply_feature_pyramid(features, 2, 6, pooled=True)
        strides = region_proposal.ANCHORS.strides
        anchors = make_anchors(strides, anchor_scales, anchor_ratios)
        logits, deltas = region_proposal.apply_proposal_head(levels, anchors)
        super().__init__(
            backbone,
            num_classes,
            {
                "rpn_logits": logits,
                "rpn_deltas": deltas,
                **{level: levels[level] for level in LEVELS},
            },
            anchors=anchors,
            **kwargs,
        )
        self.num_samples = num_samples
        self.sampling_ratio = sampling_ratio
        self.seed = seed if seed is None else integer_from(0)("seed", seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.box_head = box_head.make_box_head(
            levels["P2"].shape[-1], num_classes
        )

    @property
    def region_heads(self):
        """Pairs of a head and the number of its regions in a prediction."""
        return [(self.box_head, PROPOSALS)]

    def compute_losses(self, images, targets, outputs):
        """The losses by their names, as `Detector` asks for them."""
        sizes = ops.shape(images)[1:3], targets["image_size"]
        boxes, labels = targets["boxes"], targets["labels"]
        rpn = outputs["rpn_logits"], outputs["rpn_deltas"]
        anchors = self.anchor_generator
        rpn_losses = region_proposal.proposal_losses(
            boxes, labels >= 0, *rpn, *sizes, self.seed_generator, anchors
        )
        proposals, found, origins = region_proposal.propose(
            *rpn, *sizes, TRAINING_CANDIDATES, PROPOSALS, anchors
        )
        # Those of an anchor, and not of its place among the proposals, which
        # a rounding changes where two are nearly as likely.
        keys = random_keys(ops.shape(rpn[0]), self.seed_generator)
        keys = ops.take_along_axis(keys, origins, axis=1)
        samples = self._sample(proposals, found, boxes, labels, keys)
        losses = self.head_losses(samples, targets, outputs)
        return dict(zip(self.LOSSES, (*rpn_losses, *losses)))

    def _sample(self, proposals, found, boxes, labels, keys):
        valid = labels >= 0
        objects, is_object, is_background = match(
            box_ops.intersection_over_union(proposals, boxes),
            valid,
            POSITIVE,
            POSITIVE,
            self.LOW_QUALITY,
            candidates=found,
        )
        # Without the objects themselves an untrained network would see none.
        # They come after the matching, or no proposal would be the best.
        numbers = ops.arange(ops.shape(labels)[1], dtype="int32")
        others = random_keys(ops.shape(labels), self.seed_generator)
        proposals, objects, is_object, is_background, keys = (
            ops.concatenate(pair, axis=1)
            for pair in (
                (proposals, boxes),
                (objects, ops.broadcast_to(numbers, ops.shape(labels))),
                (is_object, valid),
                (is_background, ops.zeros_like(valid)),
                (keys, others),
            )
        )
        indices, chosen = sample(
            is_object,
            is_background,
            self.num_samples,
            self.num_samples // 4,
            keys,
        )
        objects = ops.take_along_axis(objects, indices, axis=1)
        is_object = ops.take_along_axis(is_object, indices, axis=1) & chosen
        labels = ops.take_along_axis(labels, objects, axis=1)
        return Samples(
            gather_objects(proposals, indices),
            objects,
            ops.where(is_object, labels, self.num_classes),
            is_object,
            chosen,
        )

    def head_losses(self, samples, targets, outputs):
        """Losses of the heads, in the order of `LOSSES`."""
        logits, deltas = self.apply_head(
            self.box_head, samples.boxes, outputs, box_head.OUTPUT_SIZE
        )
        return box_head.box_head_losses(
            samples.boxes,
            gather_objects(targets["boxes"], samples.objects),
            samples.labels,
            samples.chosen,
            logits,
            deltas,
        )

    def apply_head(self, head, boxes, outputs, output_size):
        """Applies a head to the features under boxes `(N, boxes, 4)`."""
        features = pyramid_roi_align(
            [outputs[level] for level in LEVELS],
            STRIDES,
            boxes,
            output_size,
            self.sampling_ratio,
            self.portable,
        )
        batch, number = ops.shape(features)[:2]
        shape = features.shape[2:]
        results = head(ops.reshape(features, (-1, *shape)))
        return keras.tree.map_structure(
            lambda x: ops.reshape(x, (batch, number, *x.shape[1:])), results
        )

    def decode(self, images, outputs, image_size):
        """What `predict` returns, as `Detector` asks for it."""
        return self.suppress(*self.candidates(images, outputs, image_size))

    def candidates(self, images, outputs, image_size):
        """Boxes, scores and classes, of which `predict` returns the best."""
        proposals, found, _ = region_proposal.propose(
            outputs["rpn_logits"],
            outputs["rpn_deltas"],
            ops.shape(images)[1:3],
            image_size,
            CANDIDATES,
            PROPOSALS,
            self.anchor_generator,
        )
        logits, deltas = self.apply_head(
            self.box_head, proposals, outputs, box_head.OUTPUT_SIZE
        )
        return box_head.decode_boxes(
            proposals, found, logits, deltas, image_size
        )

    def get_layer(self, name=None, index=None):
        if index is None and name not in [x.name for x in self.layers]:
            heads = [head for head, _ in self.region_heads]
            for layer in (*heads, *(x for head in heads for x in head.layers)):
                if layer.name == name:
                    return layer
        return super().get_layer(name, index)

    def save_own_variables(self, store):
        super().save_own_variables(store)
        # Keras saves no state of random numbers; with it a training that is
        # resumed takes the samples of one that was not interrupted.
        store[_SEED_STATE] = self.seed_generator.state

    def load_own_variables(self, store):
        store = {name: store[name] for name in store.keys()}
        state = store.pop(_SEED_STATE, None)
        super().load_own_variables(store)
        if state is not None:
            self.seed_generator.state.assign(state)

    def get_config(self):
        return {
            **super().get_config(),
            "num_samples": self.num_samples,
            "sampling_ratio": self.sampling_ratio,
            "seed": self.seed,
        }
