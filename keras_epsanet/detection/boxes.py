"""Arithmetic of boxes given by two corners: x1, y1, x2, y2, in pixels."""

import math

import keras
from keras import ops

# MMDetection's: more than a 62-fold change of a side is not believed.
MAX_LOG_RATIO = math.log(1000 / 16)


def convert(boxes, source, target, image_size):
    """Converts boxes from one format of `keras.utils.bounding_boxes`.

    Args:
        boxes: Float tensor `(..., boxes, 4)`.
        source, target: Strings, formats.
        image_size: Pair, height and width of the images in pixels.

    Returns:
        Tensor `(..., boxes, 4)`.

    Example:

    >>> boxes = keras.ops.array([[1.0, 2.0, 3.0, 5.0]])
    >>> [float(x) for x in convert(boxes, "xyxy", "xywh", (8, 8))[0]]
    [1.0, 2.0, 2.0, 3.0]
    """
    height, width = image_size
    return keras.utils.bounding_boxes.convert_format(
        boxes, source=source, target=target, height=height, width=width
    )


def encode(anchors, boxes, stds=(1.0, 1.0, 1.0, 1.0)):
    """Describes boxes relative to anchors, as in R-CNN.

    Args:
        anchors: Float tensor `(..., 4)`.
        boxes: Float tensor `(..., 4)`.
        stds: Four floats by which the result is divided.

    Returns:
        Tensor `(..., 4)`: the shift of the center in widths and heights of
        the anchor, the logarithms of the ratios of widths and heights. For
        boxes without an area, such as padding, it is finite.

    Example:

    >>> anchors = keras.ops.array([[0.0, 0, 10, 20]])
    >>> boxes = keras.ops.array([[1.0, 2, 11, 26]])
    >>> [round(float(x), 4) for x in encode(anchors, boxes)[0]]
    [0.1, 0.2, 0.0, 0.1823]
    """
    ax, ay, aw, ah = _centers_and_sizes(anchors)
    x, y, w, h = _centers_and_sizes(boxes)
    deltas = (
        (x - ax) / aw,
        (y - ay) / ah,
        ops.log(ops.maximum(w, keras.config.epsilon()) / aw),
        ops.log(ops.maximum(h, keras.config.epsilon()) / ah),
    )
    return ops.stack(deltas, axis=-1) / ops.array(stds, anchors.dtype)


def decode(anchors, deltas, stds=(1.0, 1.0, 1.0, 1.0)):
    """Returns the boxes that `encode` described, `(..., 4)`.

    The logarithms are clamped to at most log(1000 / 16) either way.
    """
    ax, ay, aw, ah = _centers_and_sizes(anchors)
    deltas = ops.convert_to_tensor(deltas)
    deltas = deltas * ops.array(stds, deltas.dtype)
    dx, dy, dw, dh = (deltas[..., i] for i in range(4))
    x, y = ax + dx * aw, ay + dy * ah
    w = aw * ops.exp(ops.clip(dw, -MAX_LOG_RATIO, MAX_LOG_RATIO)) / 2
    h = ah * ops.exp(ops.clip(dh, -MAX_LOG_RATIO, MAX_LOG_RATIO)) / 2
    return ops.stack((x - w, y - h, x + w, y + h), axis=-1)


def clip(boxes, image_size):
    """Returns boxes without what is outside of the images.

    Args:
        boxes: Float tensor `(N, ..., 4)`.
        image_size: Integer tensor `(N, 2)`, heights and widths.

    Returns:
        Tensor `(N, ..., 4)`.

    Example:

    >>> clipped = clip(ops.array([[[-1.0, 0, 9, 9]]]), ops.array([[6, 8]]))
    >>> [int(x) for x in clipped[0, 0]]
    [0, 0, 8, 6]
    """
    limits = ops.take(ops.cast(image_size, boxes.dtype), (1, 0, 1, 0), axis=1)
    between = (len(boxes.shape) - 2) * (1,)
    return ops.clip(boxes, 0.0, ops.reshape(limits, (-1, *between, 4)))


def area(boxes):
    """Returns the areas of boxes `(..., 4)`, `(...)`, in square pixels."""
    sizes = ops.maximum(boxes[..., 2:] - boxes[..., :2], 0.0)
    return sizes[..., 0] * sizes[..., 1]


def intersection_over_union(boxes, others):
    """Returns the IoU of each box with each other one.

    Args:
        boxes: Float tensor `(..., N, 4)`.
        others: Float tensor `(..., M, 4)`.

    Returns:
        Tensor `(..., N, M)`; 0 where both have no area.
    """
    first, second = boxes[..., :, None, :], others[..., None, :, :]
    low = ops.maximum(first[..., :2], second[..., :2])
    high = ops.minimum(first[..., 2:], second[..., 2:])
    common = area(ops.concatenate((low, high), axis=-1))
    union = area(boxes)[..., :, None] + area(others)[..., None, :] - common
    return common / ops.maximum(union, keras.config.epsilon())


def _centers_and_sizes(boxes):
    boxes = ops.convert_to_tensor(boxes)
    x1, y1, x2, y2 = (boxes[..., i] for i in range(4))
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
