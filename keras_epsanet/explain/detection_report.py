"""The part of a page about a detector."""

import os

from keras_epsanet.explain.map_figures import draw_detections
from keras_epsanet.explain.page import Picture, Section
from keras_epsanet.explain.picture_maps import detection_cam


def detection_section(
    detector, images, folder, method, layer, max_detections, min_score
):
    """What speaks for each of the best detections.

    Args:
        detector: `Detector` with class names.
        images: Dictionary from names to arrays `(H, W, 3)`, from 0 to 255.
        folder: Path of the folder of the pictures.
        method, layer, max_detections, min_score: As in `detection_cam`.

    Returns:
        `Section`.
    """
    rows = []
    for i, (name, image) in enumerate(images.items(), start=1):
        found = detection_cam(
            detector,
            image,
            layer,
            method=method,
            max_detections=max_detections,
            min_score=min_score,
        )
        path = os.path.join(folder, f"detections_{i}.png")
        draw_detections(image, found, path, detector.class_names)
        nothing = "" if len(found.boxes) else ": nothing found"
        rows.append([Picture(path, name + nothing)])
    where = f"the layer {layer}" if layer else "the last layer of the backbone"
    text = (
        f"The best detections of each image, {max_detections} at most and of "
        f"a score of {min_score} or more. Beside the image, for each of them: "
        "red pixels speak for its class in its box, blue ones do not "
        f"({method}, {where})."
    )
    return Section("What speaks for each detection", text, rows)
