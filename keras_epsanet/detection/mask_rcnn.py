"""Mask R-CNN as the paper used it, MMDetection's `mask_rcnn_r50_fpn_1x`."""

import keras
from keras import ops

from keras_epsanet.detection import mask_head
from keras_epsanet.detection.faster_rcnn import POSITIVE, FasterRCNN


@keras.saving.register_keras_serializable(package="keras_epsanet")
class MaskRCNN(FasterRCNN):
    """Mask R-CNN of tables 3 and 4 of the paper, for any backbone.

    [He et al., 2017](https://arxiv.org/abs/1703.06870): `FasterRCNN` with a
    head that draws the mask of every object.

    Training needs `"masks"` beside the boxes, `(N, objects, H, W)`, 0 or 1,
    in pixels of the images; or those of `keras_epsanet.data.coco.load`, with
    `"mask_grids"`. The dictionary of `predict` has `"masks"` in
    addition, `(N, max_detections, 28, 28)`: the probability that the object
    is there, from the upper left to the lower right corner of its box; 0
    beyond the last object.
    `paste_masks` draws them at the size of the image, `encode_masks` makes
    COCO's run lengths of them.

    Args:
        backbone, num_classes, **kwargs: As in `FasterRCNN`.

    Raises:
        ValueError: As in `FasterRCNN`, and if a batch for training has no
            masks.

    Example:

    >>> from keras_epsanet import EPSANetBackbone
    >>> backbone = EPSANetBackbone.from_variant(
    ...     "epsanet50_small", freeze_stages=1, norm_eval=True
    ... )
    >>> detector = MaskRCNN(backbone, num_classes=80, max_detections=10)
    >>> detector.compile("sgd")
    >>> found = detector.predict(keras.ops.zeros((1, 64, 64, 3)), verbose=0)
    >>> found["masks"].shape
    (1, 10, 28, 28)
    """

    FAMILY = "mask_rcnn"
    LOSSES = (*FasterRCNN.LOSSES, "mask_loss")
    NEEDED = (*FasterRCNN.NEEDED, "masks")
    LOW_QUALITY = POSITIVE

    def __init__(self, backbone, num_classes, **kwargs):
        super().__init__(backbone, num_classes, **kwargs)
        channels = self.output["P2"].shape[-1]
        self.mask_head = mask_head.make_mask_head(channels, num_classes)

    @property
    def region_heads(self):
        return [*super().region_heads, (self.mask_head, self.max_detections)]

    def head_losses(self, samples, targets, outputs):
        losses = super().head_losses(samples, targets, outputs)
        # Those of objects are the first, a quarter at most.
        number = _largest(
            ops.sum(ops.cast(samples.is_object, "int32"), axis=1),
            self.num_samples // 4,
        )
        objects, boxes, labels, is_object = (
            x[:, :number]
            for x in (
                samples.objects,
                samples.boxes,
                samples.labels,
                samples.is_object,
            )
        )
        logits = self.apply_head(
            self.mask_head, boxes, outputs, mask_head.OUTPUT_SIZE
        )
        return *losses, mask_head.mask_loss(
            targets["masks"],
            objects,
            boxes,
            labels,
            is_object,
            logits,
            targets.get("mask_grids"),
        )

    def decode(self, images, outputs, image_size):
        """What `predict` returns, as `Detector` asks for it."""
        found = super().decode(images, outputs, image_size)
        number = _largest(found["num_detections"], self.max_detections)
        logits = self.apply_head(
            self.mask_head,
            found["boxes"][:, :number],
            outputs,
            mask_head.OUTPUT_SIZE,
        )
        labels = ops.cast(found["labels"], "int32")[:, :number]
        masks = mask_head.own_class(logits, labels)
        batch, _, height, width = ops.shape(masks)
        rest = ops.zeros((batch, self.max_detections - number, height, width))
        masks = ops.concatenate((masks, rest), axis=1)
        return {
            **found,
            "masks": ops.reshape(
                masks, (batch, self.max_detections, height, width)
            ),
        }


def _largest(counts, limit):
    """The largest of the counts, from 1 to `limit`.

    The mask head costs more than all the rest, so it sees no more boxes than
    there are; on JAX, whose shapes are fixed, as many as there can be.
    """
    if keras.backend.backend() == "jax":
        return limit
    number = ops.clip(ops.max(ops.cast(counts, "int32")), 1, limit)
    return int(number) if keras.backend.backend() == "torch" else number
