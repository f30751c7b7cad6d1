"""Arithmetic of boxes one by one, for the tests."""

import numpy as np


def iou(first, second):
    low = np.maximum(first[:2], second[:2])
    high = np.minimum(first[2:], second[2:])
    common = np.prod(np.maximum(high - low, 0))
    areas = [np.prod(np.subtract(box[2:], box[:2])) for box in (first, second)]
    return common / max(sum(areas) - common, 1e-12)


def encode_box(anchor, box, stds=(1, 1, 1, 1)):
    anchor, box = np.asarray(anchor, "float64"), np.asarray(box, "float64")
    size, new = anchor[2:] - anchor[:2], box[2:] - box[:2]
    shift = (box[2:] + box[:2] - anchor[2:] - anchor[:2]) / 2 / size
    return np.concatenate((shift, np.log(new / size))) / stds


def decode_box(anchor, deltas, image_size, stds=(1, 1, 1, 1)):
    anchor = np.asarray(anchor, "float64")
    deltas = np.asarray(deltas, "float64") * stds
    size = anchor[2:] - anchor[:2]
    middle = (anchor[2:] + anchor[:2]) / 2 + deltas[:2] * size
    limit = np.log(1000 / 16)
    half = size * np.exp(np.clip(deltas[2:], -limit, limit)) / 2
    corners = np.concatenate((middle - half, middle + half))
    return np.clip(corners, 0, [image_size[1], image_size[0]] * 2)


def is_inside(anchor, image_size):
    """Whether its middle is in the image, rounded up to 32 pixels."""
    y, x = (anchor[1] + anchor[3]) / 2, (anchor[0] + anchor[2]) / 2
    height, width = (np.ceil(side / 32) * 32 for side in image_size)
    return y < height - 0.5 and x < width - 0.5


def suppress(boxes, threshold):
    """Indices of kept boxes, which come in falling order of their scores."""
    kept = []
    for i, box in enumerate(boxes):
        if np.prod(np.subtract(box[2:], box[:2])) <= 0:
            continue
        if all(iou(box, boxes[k]) <= threshold for k in kept):
            kept.append(i)
    return kept
