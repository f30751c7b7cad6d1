"""Pictures of detections."""

import keras
import numpy as np

from keras_epsanet.atomic import whole
from keras_epsanet.detection.mask_head import paste_masks
from keras_epsanet.detection.mask_targets import unfold_masks
from keras_epsanet.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD

_LONGER_SIDE = 640  # Pixels at least, so that small images can be read.
_DPI = 100
_FONT_SIZE = 8  # Points, as all below.
_PADDING = 1
# With what hangs below the line, and the frame.
_LINE_HEIGHT = 1.5 * _FONT_SIZE + 2 * _PADDING


def draw(
    image,
    boxes,
    labels=None,
    scores=None,
    class_names=None,
    *,
    path,
    masks=None,
    bounding_box_format="xyxy",
    min_score=0.0,
):
    """Saves an image with boxes, classes, scores and masks drawn on it.

    What is padding is left out: boxes of -1, labels below 0, and boxes that
    are not finite.

    Args:
        image: Array `(height, width, 3)`, RGB from 0 to 255.
        boxes: Array `(n, 4)`, in pixels of the image unless the format is a
            relative one.
        labels: Array of integers `(n,)`, or `None`.
        scores: Array `(n,)`, or `None`.
        class_names: List of strings, one for each label; `None` shows the
            labels as numbers.
        path: Path of the picture; its ending names the format (`.png`,
            `.jpg`, `.pdf`).
        masks: Array `(n, height, width)`, not 0 where the object is, or
            those of boxes that Mask R-CNN predicts, `(n, 28, 28)`, or `None`.
        bounding_box_format: Format of the boxes, as in
            `keras.utils.bounding_boxes`.
        min_score: Number; what has a lower score is left out.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the numbers of boxes, labels, scores and masks differ.

    Example:

    >>> image = np.full((64, 96, 3), 200)
    >>> draw(image, [[8, 8, 40, 60]], [1], [0.9], ["hat", "bag"], path="a.png")
    """
    image = np.asarray(image)
    objects = list_objects(
        image, boxes, labels, scores, masks, bounding_box_format, min_score
    )
    figure = make_figure(image, objects, class_names)
    with whole(path) as temporary:
        figure.savefig(temporary, dpi=_DPI)


def make_figure(image, objects, class_names=None):
    """Makes the figure of an image, at least as large as can be read.

    Args:
        image: Array `(height, width, 3)`, RGB from 0 to 255.
        objects: What `list_objects` returned.
        class_names: As in `draw`.
    """
    height, width = image.shape[:2]
    scale = max(1, _LONGER_SIDE / max(height, width)) / _DPI
    figure = _figure(width * scale, height * scale)
    figure.set_dpi(_DPI)
    _draw(figure.add_axes([0, 0, 1, 1]), image, objects, class_names)
    return figure


def draw_beside(
    batch,
    predictions,
    class_names=None,
    *,
    path,
    bounding_box_format="xyxy",
    min_score=0.3,
    max_images=4,
):
    """Saves a picture of predictions beside the truth.

    Args:
        batch: Dictionary of `images`, `boxes`, `labels` and, if there are
            any, `masks` and `image_size`, as `keras_epsanet.data.coco.load`
            makes it: the images are normalized by `preprocess_input`.
        predictions: Dictionary of `boxes`, `labels` (or `classes`),
            `confidence` and, if there are any, `masks`, as `predict` of a
            detector returns it for these images.
        class_names: List of strings, one for each label; `None` shows the
            labels as numbers.
        path: Path of the picture; its ending names the format.
        bounding_box_format: Format of all boxes.
        min_score: Number; predictions of less confidence are left out.
        max_images: Integer; of a larger batch the first are drawn.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the batch has no image.

    Example:

    >>> batch = {
    ...     "images": np.zeros((1, 64, 96, 3)),
    ...     "boxes": [[[8, 8, 40, 60], [-1, -1, -1, -1]]],
    ...     "labels": [[1, -1]],
    ... }
    >>> found = {
    ...     "boxes": [[[9, 7, 42, 60]]], "labels": [[1]], "confidence": [[0.8]]
    ... }
    >>> draw_beside(batch, found, ["hat", "bag"], path="both.png")
    """
    batch = {key: _to_numpy(value) for key, value in batch.items()}
    predictions = {key: _to_numpy(v) for key, v in predictions.items()}
    images = batch["images"][:max_images]
    if not len(images):
        raise ValueError(
            "There must be an image to draw. "
            f"Received: {len(batch['images'])} images, max_images={max_images}"
        )
    if "mask_grids" in batch:
        planes = zip(batch["masks"], batch["mask_grids"], images)
        batch["masks"] = [unfold_masks(*x, *y.shape[:2]) for *x, y in planes]
    figure, grid = _grid(len(images), *images.shape[1:3])
    labels = "labels" if "labels" in predictions else "classes"
    sides = (
        ("truth", batch, "labels", None, 0.0),
        ("prediction", predictions, labels, "confidence", min_score),
    )
    for i, image in enumerate(images):
        image = 255 * (image * IMAGENET_STD + IMAGENET_MEAN)
        for axes, (title, source, labels, scores, least) in zip(grid[i], sides):
            objects = list_objects(
                image,
                source["boxes"][i],
                source[labels][i],
                source[scores][i] if scores else None,
                source["masks"][i] if "masks" in source else None,
                bounding_box_format,
                least,
            )
            _draw(axes, image, objects, class_names)
            if "image_size" in batch:  # Without the padding.
                axes.set_xlim(0, batch["image_size"][i][1])
                axes.set_ylim(batch["image_size"][i][0], 0)
            if i == 0:
                axes.set_title(title)
    with whole(path) as temporary:
        figure.savefig(temporary, dpi=_DPI)


def _grid(rows, height, width):
    """A figure of pairs of images of this size in pixels, and its axes."""
    scale = max(1, _LONGER_SIDE / max(height, width)) / _DPI
    figure = _figure(2 * width * scale, (height * scale + 0.3) * rows)
    grid = figure.subplots(rows, 2, squeeze=False)
    top = 1 - 0.3 / figure.get_figheight()
    figure.subplots_adjust(0.005, 0.005, 0.995, top, 0.02, 0.02)
    return figure, grid


def _figure(width, height):
    """A figure of this size in inches, without a window."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Pictures need matplotlib: pip install matplotlib"
        ) from error
    return Figure(figsize=(width, height))


def list_objects(
    image, boxes, labels, scores, masks, bounding_box_format, least
):
    """List of (box as xyxy, label, score, mask), the largest first."""
    boxes = _to_numpy(boxes).reshape(-1, 4).astype("float32")
    number = len(boxes)
    columns = {"labels": labels, "scores": scores, "masks": masks}
    for name, column in columns.items():
        if column is None:
            columns[name] = [None] * number
        elif len(column) != number:
            raise ValueError(
                f"There must be as many {name} as boxes. "
                f"Received: {len(column)} {name}, {number} boxes"
            )
    corners = _to_numpy(
        keras.utils.bounding_boxes.convert_format(
            boxes,
            source=bounding_box_format,
            target="xyxy",
            height=image.shape[0],
            width=image.shape[1],
            dtype="float32",
        )
    )
    objects = []
    for box, corner, label, score, mask in zip(
        boxes, corners, *columns.values()
    ):
        padding = (box == -1).all() or (label is not None and label < 0)
        low = score is not None and score < least
        if not padding and not low and np.isfinite(corner).all():
            if mask is not None and np.shape(mask) != image.shape[:2]:
                (mask,) = paste_masks([mask], [corner], *image.shape[:2])
            objects.append((corner, label, score, mask))
    # Otherwise a large object hides the names of small ones.
    return sorted(objects, key=lambda item: -np.prod(item[0][2:] - item[0][:2]))


def _draw(axes, image, objects, class_names):
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    height, width = image.shape[:2]
    # Of a caption, in pixels of the image.
    inches = axes.get_position().height * axes.figure.get_figheight()
    line = _LINE_HEIGHT / 72 / inches * height
    # Coordinates are of the edges of the pixels, not of their middles.
    extent = (0, width, height, 0)
    shown = np.clip(np.round(image), 0, 255).astype("uint8")
    axes.imshow(shown, extent=extent, interpolation="nearest")
    axes.set_axis_off()
    colors = colormaps["tab20"].colors
    for (left, top, right, bottom), label, score, mask in objects:
        color = colors[int(label or 0) % len(colors)]
        if mask is not None:
            layer = np.zeros((height, width, 4))
            layer[np.asarray(mask) > 0] = (*color, 0.5)
            axes.imshow(layer, extent=extent, interpolation="nearest")
        axes.add_patch(
            Rectangle(
                (left, top),
                right - left,
                bottom - top,
                fill=False,
                edgecolor=color,
                linewidth=1.5,
            )
        )
        text = _caption(label, score, class_names)
        if text:
            axes.text(
                # Inside the picture, whatever the box.
                np.clip(left, 0, width),
                np.clip(top, 0, height),
                text,
                color="white",
                fontsize=_FONT_SIZE,
                verticalalignment="bottom" if top > line else "top",
                bbox={"facecolor": color, "edgecolor": "none", "pad": _PADDING},
                parse_math=False,
                clip_on=True,
            )


def _caption(label, score, class_names):
    parts = []
    if label is not None:
        parts.append(str(class_names[label] if class_names else int(label)))
    if score is not None:
        parts.append(f"{score:.2f}")
    return " ".join(parts)


def _to_numpy(x):
    return (
        np.asarray(x)
        if isinstance(x, (list, tuple))
        else (keras.ops.convert_to_numpy(x))
    )
