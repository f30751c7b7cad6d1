"""What was found in an image, drawn on it in memory, as for a video."""

import numpy as np

from keras_epsanet.detection.drawing import list_objects, make_figure


def draw_pixels(image, found, class_names=None):
    """Returns an image with what was found drawn on it, as pixels.

    Args:
        image: Array `(height, width, 3)`, RGB from 0 to 255.
        found: Dictionary that `Detector.detect` returned of it.
        class_names: List of strings, one for each label; `None` shows the
            labels as numbers.

    Returns:
        Uint8 array of the size that the picture of `draw` has.

    Raises:
        ImportError: If matplotlib is not installed.

    Example:

    >>> found = {"boxes": [[64, 64, 320, 400]], "labels": [1], "scores": [0.9]}
    >>> draw_pixels(np.full((480, 640, 3), 200), found, ["hat", "bag"]).shape
    (480, 640, 3)
    """
    image = np.asarray(image)
    values = (found["boxes"], found["labels"], found["scores"])
    objects = list_objects(image, *values, found.get("masks"), "xyxy", 0.0)
    figure = make_figure(image, objects, class_names)
    # `make_figure` says how to install it, if it is missing.
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]
