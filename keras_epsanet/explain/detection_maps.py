"""Which pixels speak for what a detector has found."""

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from keras_epsanet.detection.batches import image_sizes
from keras_epsanet.detection.nms import non_max_suppression
from keras_epsanet.explain.gradients import (
    activations_and_gradients,
    no_gradients,
)
from keras_epsanet.explain.layer_search import find_layer
from keras_epsanet.explain.map_sizes import finish
from keras_epsanet.explain.methods import METHODS
from keras_epsanet.explain.model_inputs import as_input, in_batches
from keras_epsanet.explain.replaced import observed


class DetectionMaps(NamedTuple):
    """What was found in an image, and the pixels that speak for it.

    Attributes:
        maps: Float32 array `(K, H, W)`, from 0 to 1.
        boxes: Float32 array `(K, 4)`, x1, y1, x2, y2 in pixels of the image.
        labels: Int64 array `(K,)`.
        scores: Float32 array `(K,)`, the best first.
    """

    maps: Any
    boxes: Any
    labels: Any
    scores: Any


def explain(
    detector, images, layer, classes, method, batch_size, max_detections
):
    """Makes a map for each of the best detections of some images.

    A map is of the class's score of one box, as `predict` returns it: of the
    anchor or the proposal that the box comes from.

    Args:
        detector: `Detector`.
        images: Array `(N, H, W, 3)`, as the detector takes them.
        layer, classes, method, batch_size, max_detections: As in `grad_cam`.

    Returns:
        List of `DetectionMaps`.

    Raises:
        ValueError: As of `grad_cam`.
    """
    if method not in METHODS:
        raise ValueError(
            f"A detector is explained by {', '.join(METHODS)}. "
            f"Received: method={method!r}"
        )
    label = _check_label(detector, classes)
    in_backbone = {x.name for x in detector.backbone.layers}
    target = find_layer(detector, layer, last_of=in_backbone)
    results = []
    for part in in_batches(images, batch_size):
        batch = images[part]
        found = _find(detector, batch, label, max_detections)
        results += _explain(detector, target, batch, found, method)
    return results


def _check_label(detector, label):
    if label is None:
        return None
    names = list(detector.class_names or ())
    if isinstance(label, str) and label in names:
        return names.index(label)
    is_number = isinstance(label, (int, np.integer))
    if not is_number or not 0 <= label < detector.num_classes:
        raise ValueError(
            "`classes` of a detector must be one class, from 0 to "
            f"{detector.num_classes - 1}{_or_any(names)}. "
            f"Received: classes={label!r}"
        )
    return int(label)


def _or_any(names):
    return f", or any of {', '.join(names)}" if names else ""


def _candidates(detector, images):
    images = as_input(detector, images)
    outputs = detector(images, training=False)
    return detector.candidates(images, outputs, image_sizes(images, {}))


class _Found(NamedTuple):
    """Detections of a batch, `(N, K)`, -1 where there is none."""

    indices: Any
    labels: Any
    scores: Any
    boxes: Any


def _find(detector, images, label, number):
    """Detections among the candidates, as `predict` chooses them."""
    with no_gradients():
        boxes, scores, classes = _candidates(detector, images)
        if label is not None:
            scores = ops.where(classes == label, scores, 0.0)
        kept, count = non_max_suppression(
            boxes,
            scores,
            classes,
            detector.iou_threshold,
            detector.max_detections,
            detector.confidence_threshold,
        )
    kept, count, boxes, scores, classes = map(
        ops.convert_to_numpy, (kept, count, boxes, scores, classes)
    )
    number = min(number, int(count.max()))
    kept = kept[:, :number]
    is_found = np.arange(number) < count[:, None]
    return _Found(
        kept,
        np.where(is_found, np.take_along_axis(classes, kept, 1), -1),
        np.where(is_found, np.take_along_axis(scores, kept, 1), -1),
        np.take_along_axis(boxes, kept[..., None], 1),
    )


def _explain(detector, target, images, found, method):
    """`DetectionMaps` of each image of a batch."""
    size, number = images.shape[1:3], found.indices.shape[1]
    maps = np.zeros((number, len(images), *size), "float32")
    if number:

        def forward(tap):
            with observed(target.layer, tap):
                _, scores, _ = _candidates(detector, images)
            return ops.take_along_axis(scores, found.indices, axis=1)

        activations, _, gradients = activations_and_gradients(forward)
        activations = target.as_channels_last(activations)
        for i, gradient in enumerate(gradients):
            gradient = target.as_channels_last(gradient)
            maps[i] = finish(METHODS[method](activations, gradient), size)
    results = []
    for i in range(len(images)):
        good = found.labels[i] >= 0
        results.append(
            DetectionMaps(
                maps[good, i],
                found.boxes[i, good].astype("float32"),
                found.labels[i, good].astype("int64"),
                found.scores[i, good].astype("float32"),
            )
        )
    return results
