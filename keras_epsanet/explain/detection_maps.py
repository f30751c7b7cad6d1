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
    detector,
    images,
    layer,
    classes,
    method,
    batch_size,
    max_detections,
    image_size=None,
    min_score=0.0,
):
    """Makes a map for each of the best detections of some images.

    A map is of the class's score of one box, as `predict` returns it: of the
    anchor or the proposal that the box comes from.

    Args:
        detector: `Detector`.
        images: Array `(N, H, W, 3)`, as the detector takes them.
        layer, classes, method, batch_size, max_detections: As in `grad_cam`.
        image_size: Integer array `(N, 2)`, heights and widths before the
            images were padded; `None` if nothing is padding.
        min_score: Float; what has a lower score is not explained.

    Returns:
        List of `DetectionMaps`.

    Raises:
        ValueError: As of `grad_cam`.
    """
    check_method(method)
    label = _check_label(detector, classes)
    in_backbone = {x.name for x in detector.backbone.layers}
    target = find_layer(detector, layer, last_of=in_backbone)
    results = []
    for part in in_batches(images, batch_size):
        size = None if image_size is None else image_size[part]
        targets = {} if size is None else {"image_size": size}
        batch = _Batch(images[part], targets)
        found = _find(detector, batch, label, max_detections, min_score)
        results += _explain(detector, target, batch, found, method)
    return results


def check_method(method):
    """Raises if detections cannot be explained by a method.

    Args:
        method: String.

    Raises:
        ValueError: If it is none of those with a gradient.
    """
    if method not in METHODS:
        raise ValueError(
            f"A detector is explained by {', '.join(METHODS)}. "
            f"Received: method={method!r}"
        )


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


class _Batch(NamedTuple):
    """Images, and a dictionary of their `"image_size"`, if they are padded."""

    images: Any
    targets: dict


def _candidates(detector, batch):
    images = as_input(detector, batch.images)
    outputs = detector(images, training=False)
    sizes = image_sizes(images, batch.targets)
    return detector.candidates(images, outputs, sizes)


class _Found(NamedTuple):
    """Detections of a batch, `(N, K)`, -1 where there is none."""

    indices: Any
    labels: Any
    scores: Any
    boxes: Any


def _find(detector, batch, label, number, min_score):
    """Detections among the candidates, as `predict` chooses them."""
    with no_gradients():
        boxes, scores, classes = _candidates(detector, batch)
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
    is_found &= np.take_along_axis(scores, kept, 1) >= min_score
    # The best are the first, and each costs a pass backward.
    number = int(is_found.sum(axis=1).max(initial=0))
    kept, is_found = kept[:, :number], is_found[:, :number]
    return _Found(
        kept,
        np.where(is_found, np.take_along_axis(classes, kept, 1), -1),
        np.where(is_found, np.take_along_axis(scores, kept, 1), -1),
        np.take_along_axis(boxes, kept[..., None], 1),
    )


def _explain(detector, target, batch, found, method):
    """`DetectionMaps` of each image of a batch."""
    images, number = len(batch.images), found.indices.shape[1]
    size = batch.images.shape[1:3]
    maps = np.zeros((number, images, *size), "float32")
    if number:

        def forward(tap):
            with observed(target.layer, tap):
                _, scores, _ = _candidates(detector, batch)
            return ops.take_along_axis(scores, found.indices, axis=1)

        activations, _, gradients = activations_and_gradients(forward)
        activations = target.as_channels_last(activations)
        for i, gradient in enumerate(gradients):
            gradient = target.as_channels_last(gradient)
            maps[i] = finish(METHODS[method](activations, gradient), size)
    results = []
    for i in range(images):
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
