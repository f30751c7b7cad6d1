"""Faster R-CNN as the paper used it, MMDetection's `faster_rcnn_r50_fpn_1x`."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_epsanet.detection import box_head
from keras_epsanet.detection import boxes as box_ops
from keras_epsanet.detection import region_proposal
from keras_epsanet.detection.detector import Detector, check_num_classes
from keras_epsanet.detection.fpn import apply_feature_pyramid, find_features
from keras_epsanet.detection.matcher import gather_objects, match
from keras_epsanet.detection.roi_align import pyramid_roi_align
from keras_epsanet.detection.sampler import sample

# Of which the heads take their features; proposals have P6 in addition.
LEVELS = ("P2", "P3", "P4", "P5")
STRIDES = (4, 8, 16, 32)
# IoU of a proposal with an object, of which it is from here on.
POSITIVE = 0.5
# Anchors of one level that become proposals at most.
TRAINING_CANDIDATES, CANDIDATES = 2000, 1000
PROPOSALS = 1000


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
class FasterRCNN(Detector):
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
            bin; 0 as in MMDetection, on TensorFlow alone (`roi_align`).
        bounding_box_format: Format of the boxes in training and prediction,
            as in `keras.utils.bounding_boxes`.
        confidence_threshold: Float, score that a prediction must exceed.
        iou_threshold: Float, IoU above which the lower of two predictions of
            a class is dropped.
        max_detections: Integer, most predictions for one image.
        seed: Integer for the sampling, or `None` for one at random.
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

    LOSSES = (
        "rpn_classification_loss",
        "rpn_box_loss",
        "classification_loss",
        "box_loss",
    )
    # Least IoU of an object with its best proposals for it to get them.
    LOW_QUALITY = None

    def __init__(
        self,
        backbone,
        num_classes,
        *,
        num_samples=512,
        sampling_ratio=2,
        seed=None,
        **kwargs,
    ):
        check_num_classes(num_classes)
        if not isinstance(num_samples, int) or num_samples < 4:
            raise ValueError(
                "`num_samples` must be an integer from 4 up. "
                f"Received: num_samples={num_samples}"
            )
        features = find_features(backbone, LEVELS)
        levels = apply_feature_pyramid(features, 2, 6, pooled=True)
        logits, deltas = region_proposal.apply_proposal_head(levels)
        super().__init__(
            backbone,
            num_classes,
            {
                "rpn_logits": logits,
                "rpn_deltas": deltas,
                **{level: levels[level] for level in LEVELS},
            },
            **kwargs,
        )
        self.num_samples = num_samples
        self.sampling_ratio = sampling_ratio
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.box_head = box_head.make_box_head(
            levels["P2"].shape[-1], num_classes
        )
        # Its ROIAlign has an operation that XLA lacks.
        self.supports_jit = keras.backend.backend() != "tensorflow"

    @property
    def region_heads(self):
        """Pairs of a head and the number of its regions in a prediction."""
        return [(self.box_head, PROPOSALS)]

    def compute_losses(self, images, targets, outputs):
        image_size = ops.shape(images)[1:3]
        boxes, labels = targets["boxes"], targets["labels"]
        valid = labels >= 0
        rpn = outputs["rpn_logits"], outputs["rpn_deltas"]
        rpn_losses = region_proposal.proposal_losses(
            boxes, valid, *rpn, image_size, self.seed_generator
        )
        proposals, found = region_proposal.propose(
            *rpn, image_size, TRAINING_CANDIDATES, PROPOSALS
        )
        samples = self._sample(
            # Otherwise an untrained network would see no object.
            ops.concatenate((proposals, boxes), axis=1),
            ops.concatenate((found, valid), axis=1),
            boxes,
            labels,
        )
        losses = self.head_losses(samples, targets, outputs)
        return dict(zip(self.LOSSES, (*rpn_losses, *losses)))

    def _sample(self, proposals, found, boxes, labels):
        objects, is_object, is_background = match(
            box_ops.intersection_over_union(proposals, boxes),
            labels >= 0,
            POSITIVE,
            POSITIVE,
            self.LOW_QUALITY,
        )
        indices, chosen = sample(
            is_object & found,
            is_background & found,
            self.num_samples,
            self.num_samples // 4,
            self.seed_generator,
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

    def decode(self, images, outputs):
        image_size = ops.shape(images)[1:3]
        proposals, found = region_proposal.propose(
            outputs["rpn_logits"],
            outputs["rpn_deltas"],
            image_size,
            CANDIDATES,
            PROPOSALS,
        )
        logits, deltas = self.apply_head(
            self.box_head, proposals, outputs, box_head.OUTPUT_SIZE
        )
        return self.suppress(
            *box_head.decode_boxes(
                proposals, found, logits, deltas, image_size
            )
        )

    def get_config(self):
        return {
            **super().get_config(),
            "num_samples": self.num_samples,
            "sampling_ratio": self.sampling_ratio,
            "seed": self.seed,
        }
