"""The region proposal network of Faster and Mask R-CNN.

[Ren et al., 2015](https://arxiv.org/abs/1506.01497) on a feature pyramid,
with MMDetection's settings.
"""

import keras
from keras import ops

from keras_epsanet.detection import boxes as box_ops
from keras_epsanet.detection.anchors import AnchorGenerator
from keras_epsanet.detection.losses import count_by_image
from keras_epsanet.detection.matcher import gather_objects, match
from keras_epsanet.detection.nms import suppress_level
from keras_epsanet.detection.subsampler import random_keys, sample
from keras_epsanet.detection.top_k import top_k
from keras_epsanet.layers import GroupedConv2D

ANCHORS = AnchorGenerator(
    strides=(4, 8, 16, 32, 64), scales=(8,), ratios=(0.5, 1.0, 2.0)
)
# IoU with an object: an anchor is the object's from the first on, background
# below the second; an object without one gets its best from the second on.
POSITIVE, NEGATIVE = 0.7, 0.3
# Anchors of one image that are learned, and how many may be of objects.
SAMPLES, MAX_OBJECTS = 256, 128
IOU_THRESHOLD = 0.7


def apply_proposal_head(levels, generator=ANCHORS):
    """Applies the same convolutions to all levels.

    Args:
        levels: Dictionary from `"P2"` … `"P6"` to Keras tensors of the same
            number of channels.
        generator: `AnchorGenerator`.

    Returns:
        Two float32 Keras tensors, logits `(N, anchors)` and box deltas
        `(N, anchors, 4)`, the anchors of all levels in a row.
    """
    filters = levels["P2"].shape[-1]
    hidden = _convolution(filters, 3, "rpn_conv")
    outputs = [
        (
            name,
            _convolution(
                generator.num_anchors * values,
                1,
                f"{name}_conv",
                dtype="float32",
            ),
            (-1,) if values == 1 else (-1, values),
        )
        for name, values in (("rpn_logits", 1), ("rpn_deltas", 4))
    ]
    flat = {name: [] for name, *_ in outputs}
    for level, x in levels.items():
        x = ops.relu(hidden(x))
        for name, layer, shape in outputs:
            flat[name].append(
                keras.layers.Reshape(
                    shape, dtype="float32", name=f"{name}_{level}"
                )(layer(x))
            )
    return [
        keras.layers.Concatenate(axis=1, dtype="float32", name=name)(parts)
        for name, parts in flat.items()
    ]


def proposal_losses(
    boxes,
    valid,
    logits,
    deltas,
    padded_size,
    image_size,
    seed,
    generator=ANCHORS,
):
    """Losses of the anchors that are sampled.

    Args:
        boxes: Float tensor `(N, objects, 4)`, corners in pixels.
        valid: Boolean tensor `(N, objects)`, false for padding.
        logits: Float32 tensor `(N, anchors)`.
        deltas: Float32 tensor `(N, anchors, 4)`.
        padded_size: Pair, height and width of all images in pixels.
        image_size: Int32 tensor `(N, 2)`, those of each without padding, in
            which no anchor is sampled.
        seed: `keras.random.SeedGenerator` of the sampling.
        generator: `AnchorGenerator`.

    Returns:
        Two scalars, cross-entropy of the logits and L1 loss of the deltas,
        both divided by the number of sampled anchors on all replicas, of
        objects and of background at least one an image.
    """
    anchors = ops.concatenate(generator(*padded_size))
    objects, is_object, is_background = match(
        box_ops.intersection_over_union(anchors, boxes),
        valid,
        POSITIVE,
        NEGATIVE,
        low_quality=NEGATIVE,
        candidates=generator.are_inside(*padded_size, image_size),
    )
    keys = random_keys(ops.shape(logits), seed)
    indices, chosen = sample(
        is_object, is_background, SAMPLES, MAX_OBJECTS, keys
    )
    logits = ops.take_along_axis(logits, indices, axis=1)
    targets = ops.take_along_axis(is_object, indices, axis=1) & chosen
    count = count_by_image(targets, chosen & ops.logical_not(targets))
    entropy = ops.binary_crossentropy(
        ops.cast(targets, "float32"), logits, from_logits=True
    )
    wanted = box_ops.encode(
        ops.take(anchors, indices, axis=0),
        gather_objects(boxes, ops.take_along_axis(objects, indices, axis=1)),
    )
    errors = ops.abs(gather_objects(deltas, indices) - wanted)
    return (
        ops.sum(ops.where(chosen, entropy, 0.0)) / count,
        ops.sum(ops.where(targets[..., None], errors, 0.0)) / count,
    )


def propose(
    logits,
    deltas,
    padded_size,
    image_size,
    candidates,
    number,
    generator=ANCHORS,
):
    """The boxes that are most likely objects.

    Args:
        logits, deltas, padded_size: As in `proposal_losses`.
        image_size: Int32 tensor `(N, 2)`, to which the boxes are clipped.
        candidates: Integer, anchors of a level that are looked at.
        number: Integer, boxes of an image in the result.
        generator: `AnchorGenerator`.

    Returns:
        Float32 tensor `(N, number, 4)`, corners in pixels, the best first;
        a boolean tensor `(N, number)`, false where there is no box; and an
        int32 tensor `(N, number)`, the anchors that they were. None has a
        gradient.
    """
    logits, deltas = map(ops.stop_gradient, (logits, deltas))
    all_boxes, all_scores, all_anchors = [], [], []
    begin = 0
    for anchors in generator(*padded_size):
        end = begin + ops.shape(anchors)[0]
        best, indices = top_k(logits[:, begin:end], candidates)
        boxes = box_ops.decode(
            ops.take(anchors, indices, axis=0),
            gather_objects(deltas[:, begin:end], indices),
        )
        boxes = box_ops.clip(boxes, image_size)
        scores = ops.where(box_ops.area(boxes) > 0, ops.sigmoid(best), 0.0)
        kept, found = suppress_level(boxes, scores, IOU_THRESHOLD, number)
        slots = ops.arange(number, dtype="int32")
        scores = ops.take_along_axis(scores, kept, axis=1)
        all_scores.append(ops.where(slots < found[:, None], scores, -1.0))
        all_boxes.append(gather_objects(boxes, kept))
        all_anchors.append(begin + ops.take_along_axis(indices, kept, axis=1))
        begin = end
    scores, indices = top_k(ops.concatenate(all_scores, axis=1), number)
    boxes = gather_objects(ops.concatenate(all_boxes, axis=1), indices)
    anchors = ops.concatenate(all_anchors, axis=1)
    return boxes, scores >= 0, ops.take_along_axis(anchors, indices, axis=1)


def _convolution(filters, kernel_size, name, **kwargs):
    return GroupedConv2D(
        filters,
        kernel_size,
        use_bias=True,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        name=name,
        **kwargs,
    )
