"""Non-maximum suppression of fixed shapes, class by class."""

import keras
from keras import ops

from keras_epsanet.detection import boxes as box_ops


def non_max_suppression(
    boxes, scores, classes, iou_threshold, max_detections, score_threshold=0.0
):
    """Keeps the best of boxes of the same class that overlap.

    In falling order of the scores a box is kept unless its IoU with a kept
    box of its class is above the threshold, as in torchvision's `batched_nms`.

    Args:
        boxes: Float tensor `(N, candidates, 4)`, corners.
        scores: Float tensor `(N, candidates)`.
        classes: Integer tensor `(N, candidates)`.
        iou_threshold: Float from 0 to 1.
        max_detections: Integer, boxes of one image in the result.
        score_threshold: Float; only boxes with a higher score are kept.

    Returns:
        Indices of the kept boxes, int32 `(N, max_detections)`, the highest
        score first, and int32 `(N,)`, how many are kept; the indices behind
        those are 0.

    Example:

    >>> boxes = [[[0.0, 0, 9, 9], [1, 0, 9, 9], [20, 20, 30, 30]]]
    >>> boxes = ops.array(boxes)
    >>> scores = ops.array([[0.9, 0.8, 0.7]])
    >>> classes = ops.array([[0, 0, 0]])
    >>> indices, number = non_max_suppression(boxes, scores, classes, 0.5, 2)
    >>> [int(i) for i in indices[0]], int(number[0])
    ([0, 2], 2)
    """
    boxes, scores = map(_to_float32, (boxes, scores))
    batch, candidates = ops.shape(scores)
    positions = ops.arange(candidates, dtype="int32")[None]
    slots = ops.arange(max_detections, dtype="int32")[None]
    none = -1.0 + ops.minimum(score_threshold, 0.0)
    scores = ops.where(scores > score_threshold, scores, none)

    def is_left(i, kept, number, scores):
        return ops.any(scores > score_threshold)

    def keep_best(i, kept, number, scores):
        highest = ops.max(scores, axis=-1, keepdims=True)
        left = highest > score_threshold
        # The first of them. Keras' argmax has operations that ONNX lacks.
        best = ops.where(scores == highest, positions, candidates)
        best = ops.min(best, axis=-1, keepdims=True)
        kept = ops.where((slots == i) & left, best, kept)
        number = number + ops.cast(left[:, 0], "int32")
        box = ops.take_along_axis(boxes, best[..., None], axis=1)
        ious = box_ops.intersection_over_union(box, boxes)[:, 0]
        rival = classes == ops.take_along_axis(classes, best, axis=1)
        gone = (rival & (ious > iou_threshold)) | (positions == best)
        return i + 1, kept, number, ops.where(left & gone, none, scores)

    _, kept, number, _ = ops.while_loop(
        is_left,
        keep_best,
        (
            0,
            ops.zeros((batch, max_detections), "int32"),
            ops.zeros((batch,), "int32"),
            scores,
        ),
        maximum_iterations=max_detections,
    )
    return kept, number


def suppress_level(boxes, scores, iou_threshold, max_boxes):
    """Keeps the best of boxes that overlap, whatever their classes.

    As `non_max_suppression` with one class, but quick with a thousand boxes
    on TensorFlow, by its own operation.

    Args:
        boxes: Float tensor `(N, candidates, 4)`, corners.
        scores: Float tensor `(N, candidates)`; only those above 0 are kept.
        iou_threshold, max_boxes: As in `non_max_suppression`.

    Returns:
        As `non_max_suppression`.
    """
    boxes, scores = map(_to_float32, (boxes, scores))
    if keras.backend.backend() != "tensorflow":
        classes = ops.zeros_like(scores, dtype="int32")
        return non_max_suppression(
            boxes, scores, classes, iou_threshold, max_boxes
        )
    import tensorflow as tf

    def suppress(image):
        kept, number = tf.raw_ops.NonMaxSuppressionV4(
            boxes=image[0],
            scores=image[1],
            max_output_size=max_boxes,
            iou_threshold=iou_threshold,
            score_threshold=0.0,
            pad_to_max_output_size=True,
        )
        return kept, number

    kept, number = tf.map_fn(
        suppress,
        (boxes, scores),
        fn_output_signature=(
            tf.TensorSpec((max_boxes,), "int32"),
            tf.TensorSpec((), "int32"),
        ),
    )
    return kept, number


def _to_float32(values):
    # In half precision the area of a box of 256 x 256 pixels overflows.
    return ops.cast(values, "float32")


def best_detections(
    boxes, scores, classes, iou_threshold, number, least, portable=False
):
    """The best of boxes as the dictionary that `predict` returns.

    Args:
        boxes, scores, classes, iou_threshold: As in `non_max_suppression`.
        number: Integer, boxes of one image in the result.
        least: Float; only boxes with a higher score are kept.
        portable: Whether shapes must not depend on the scores, for runtimes
            that lack this.

    Returns:
        Dictionary of `boxes` `(N, number, 4)`, `confidence` and `labels`
        `(N, number)`, -1 where there is nothing, and `num_detections` `(N,)`.
    """
    if not portable and keras.backend.backend() != "jax":
        boxes, scores, classes = _likely(boxes, scores, classes, least)
    kept, found = non_max_suppression(
        boxes, scores, classes, iou_threshold, number, least
    )
    is_found = ops.arange(number)[None] < found[:, None]

    def take(values):
        return ops.where(is_found, ops.take_along_axis(values, kept, 1), -1)

    return {
        "boxes": ops.take_along_axis(boxes, kept[..., None], axis=1),
        "confidence": take(scores),
        "labels": take(classes),
        "num_detections": found,
    }


def _likely(boxes, scores, classes, least):
    """The boxes that can be kept, the highest score first.

    The suppression looks at all boxes for every one that it keeps. An R-CNN
    has as many as proposals times classes, of which few have a score.
    """
    count = ops.max(ops.sum(ops.cast(scores > least, "int32"), axis=1))
    count = ops.maximum(count, 1)  # There is no largest of none.
    if keras.backend.backend() == "torch":
        count = int(count)
    # Equal scores stay in their order.
    order = ops.argsort(-scores, axis=1)[:, :count]
    return (
        ops.take_along_axis(boxes, order[..., None], axis=1),
        ops.take_along_axis(scores, order, axis=1),
        ops.take_along_axis(classes, order, axis=1),
    )
