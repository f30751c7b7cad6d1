"""Which pixels of a picture speak for what a detector finds in it."""

import numpy as np

from keras_epsanet.detection.detector import Detector
from keras_epsanet.detection.pictures import (
    place_boxes,
    prepare,
    read_picture,
)
from keras_epsanet.explain.detection_maps import explain
from keras_epsanet.explain.map_sizes import rescale, resize
from keras_epsanet.integers import check_positive


def detection_cam(
    detector,
    picture,
    layer=None,
    classes=None,
    method="layercam",
    *,
    max_detections=5,
    min_score=0.0,
):
    """Shows which pixels of a picture speak for what is found in it.

    What `grad_cam` is for images as a detector takes them: the picture is
    resized, normalized and padded as by `Detector.detect`, and the boxes and
    the maps are those of its own pixels.

    Args:
        detector: Detector of `keras_epsanet.detection`.
        picture: Path, image of Pillow, or array `(H, W, 3)` or `(H, W, 1)`
            from 0 to 255.
        layer, classes: As in `grad_cam` of a detector.
        method: `"layercam"`, `"gradcam"` or `"gradcam++"`. The last two count
            a channel the same at all pixels, wherever the box is.
        max_detections: Integer, the best detections that are explained.
        min_score: Float; what has a lower score is not explained.

    Returns:
        `DetectionMaps`.

    Raises:
        ValueError: If this is no detector, or an argument does not fit it.

    Example:

    >>> from keras_epsanet import EPSANetBackbone
    >>> from keras_epsanet.detection import RetinaNet
    >>> backbone = EPSANetBackbone(
    ...     (1, 1, 1, 1), (16, 16, 16, 16), (3, 5), (1, 4), reduction=4
    ... )
    >>> detector = RetinaNet(backbone, 2, image_size=(64, 96))
    >>> detector.confidence_threshold = 0
    >>> found = detection_cam(detector, np.ones((30, 40, 3)), max_detections=2)
    >>> found.maps.shape, found.boxes.shape
    ((2, 30, 40), (2, 4))
    """
    if not isinstance(detector, Detector):
        raise ValueError(
            "`detector` must be one of keras_epsanet.detection. "
            f"Received: detector={detector}"
        )
    check_positive(max_detections=max_detections)
    pixels = read_picture(picture, "picture")
    limits = detector.input_shape[1:3]
    prepared = prepare(pixels, detector.image_size, limits)
    (found,) = explain(
        detector,
        prepared.inputs[None],
        layer,
        classes,
        method,
        1,
        max_detections,
        np.array([prepared.size], "int32"),
        min_score,
    )
    height, width = prepared.size
    # To the range anew, for the highest value may have been in the padding.
    maps = rescale(resize(found.maps[:, :height, :width], prepared.sides))
    return found._replace(maps=maps, boxes=place_boxes(found.boxes, prepared))
