"""Pictures of maps laid over images."""

import numpy as np

from keras_epsanet.explain.attention_values import layers_with
from keras_epsanet.explain.layout import grid, save, write_above, write_beside
from keras_epsanet.explain.map_sizes import resize
from keras_epsanet.explain.pixels import as_pixels, overlay


def draw_maps(images, maps, path, titles=None, columns=6):
    """Draws images above the same with a map laid over them.

    Args:
        images: Array `(N, H, W, 3)`, as in `as_pixels`.
        maps: Array `(N, H, W)`, from 0 to 1, or a dictionary of such arrays
            by what is written beside them: a row for each.
        path: Path of the picture; its ending names the format.
        titles: List of strings above the images, or `None`.
        columns: Integer, images beside one another.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there are fewer maps, or other sizes, than images.

    Example:

    >>> draw_maps(np.zeros((2, 8, 8, 3)), np.ones((2, 8, 8)), "maps.png")
    """
    images = as_pixels(images)
    by_name = maps if isinstance(maps, dict) else {"": maps}
    for name, values in by_name.items():
        if np.shape(values) != images.shape[:3]:
            raise ValueError(
                f"There must be a map of the size of each image, "
                f"{images.shape[:3]}. Received: {name or 'maps'} of the shape "
                f"{np.shape(values)}"
            )
    rows = {"": images}
    for name, values in by_name.items():
        rows[name or " "] = [overlay(*x) for x in zip(images, values)]
    columns = min(columns, len(images))
    bands = -(-len(images) // columns)
    figure, axes = grid(bands * len(rows), columns, images.shape[1:3])
    for i in range(bands * columns):
        band, column = divmod(i, columns)
        for row, (name, pictures) in enumerate(rows.items()):
            axis = axes[band * len(rows) + row, column]
            if i < len(images):
                axis.imshow(pictures[i])
            if column == 0:
                write_beside(axis, name)
        if titles is not None and i < len(images):
            write_above(axes[band * len(rows), column], titles[i])
    save(figure, path)


def draw_beside(image, maps, path):
    """Draws one image, and beside it the same with each of some maps.

    As in section 4.4 of the paper, where the maps are those of networks.

    Args:
        image: Array `(H, W, 3)`, as in `as_pixels`.
        maps: Dictionary from what is written above to arrays `(H, W)`, from
            0 to 1.
        path: Path of the picture; its ending names the format.

    Raises:
        ImportError: If matplotlib is not installed.

    Example:

    >>> draw_beside(np.zeros((8, 8, 3)), {"hat": np.ones((8, 8))}, "hat.png")
    """
    (image,) = as_pixels(np.asarray(image)[None])
    figure, axes = grid(1, 1 + len(maps), image.shape[:2])
    axes[0, 0].imshow(image)
    for axis, (name, heat) in zip(axes[0, 1:], maps.items()):
        axis.imshow(overlay(image, heat))
        write_above(axis, name)
    save(figure, path)


def draw_detections(image, found, path, class_names=None, columns=6):
    """Draws an image with its detections, and beside it the map of each.

    The boxes have a color each, and the number of their map.

    Args:
        image: Array `(H, W, 3)`, from 0 to 255.
        found: `DetectionMaps` of the image, as `detection_cam` returns them.
        path: Path of the picture; its ending names the format.
        class_names: List of strings, one for each label; `None` writes the
            labels as numbers.
        columns: Integer, images beside one another.

    Raises:
        ImportError: If matplotlib is not installed.

    Example:

    >>> from keras_epsanet.explain.detection_maps import DetectionMaps
    >>> box = np.array([[2, 2, 6, 6]])
    >>> found = DetectionMaps(np.ones((1, 8, 8)), box, [1], [0.9])
    >>> draw_detections(np.zeros((8, 8, 3)), found, "b.png", ["hat", "bag"])
    """
    image = np.clip(np.round(image), 0, 255).astype("uint8")
    shown = [image, *(overlay(image, heat) for heat in found.maps)]
    columns = min(columns, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = grid(rows, columns, image.shape[:2])
    axes = axes.ravel()
    height, width = image.shape[:2]
    for axis, pixels in zip(axes, shown):
        # Coordinates are of the edges of the pixels, as those of boxes.
        axis.imshow(pixels, extent=(0, width, height, 0))
    # The best one last, above others of the same place.
    for i, box in reversed(list(enumerate(found.boxes))):
        label = found.labels[i]
        name = class_names[label] if class_names else int(label)
        write_above(axes[1 + i], f"{i + 1}: {name} {found.scores[i]:.2f}")
        for axis in (axes[0], axes[1 + i]):
            _draw_box(axis, box, i)
    save(figure, path)


def _draw_box(axis, box, number):
    """A box in the color of its number, which stands out from any image."""
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    left, top, right, bottom = map(float, box)
    color = colormaps["tab10"](number % 10)
    for line, shade in ((3.0, "white"), (1.5, color)):
        axis.add_patch(
            Rectangle(
                (left, top),
                right - left,
                bottom - top,
                fill=False,
                edgecolor=shade,
                linewidth=line,
            )
        )
    axis.text(
        left,
        top,
        number + 1,
        color="white",
        fontsize=7,
        verticalalignment="top",
        bbox={"facecolor": color, "edgecolor": "none", "pad": 1},
    )


def draw_scale_maps(image, found, index, path):
    """Draws where each scale of each stage is active in one image.

    A row is the last block of a stage, a column a scale; the colors of a row
    have one range, so that the scales of a stage can be compared.

    Args:
        image: Array `(H, W, 3)`, as in `as_pixels`.
        found: `Attention` of a model with PSA.
        index: Integer, the place of the image among those of `found`.
        path: Path of the picture; its ending names the format.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If no layer has such maps.

    Example:

    >>> from keras_epsanet.explain.attention_values import (
    ...     Attention,
    ...     LayerAttention,
    ... )
    >>> layer = LayerAttention(
    ...     "conv2_block1_psa",
    ...     "PSA",
    ...     "conv2",
    ...     ("3×3", "5×5"),
    ...     scales=np.full((1, 2, 8), 0.5),
    ...     scale_maps=np.linspace(0, 1, 32).reshape(1, 2, 4, 4),
    ... )
    >>> found = Attention([layer], None, None)
    >>> draw_scale_maps(np.zeros((8, 8, 3)), found, 0, "scales.png")
    """
    missing = "Only PSA has maps of its scales"
    stages = {x.stage: x for x in layers_with(found, "scale_maps", missing)}
    (image,) = as_pixels(image[None])
    gray = np.repeat(image.mean(-1, keepdims=True), 3, -1)
    columns = 1 + max(len(x.scale_names) for x in stages.values())
    figure, axes = grid(len(stages), columns, image.shape[:2])
    for row, (stage, layer) in zip(axes, stages.items()):
        row[0].imshow(image)
        write_beside(row[0], stage)
        maps = resize(layer.scale_maps[index], image.shape[:2])
        low, high = maps.min(), maps.max()
        means = layer.scales[index].mean(axis=-1)
        for axis, name, heat, mean in zip(
            row[1:], layer.scale_names, maps, means
        ):
            heat = (heat - low) / max(high - low, 1e-12)
            axis.imshow(overlay(gray, heat))
            write_above(axis, f"{name}: {mean:.0%}")
    save(figure, path)


def draw_pixel_maps(image, found, index, path):
    """Draws which pixels of one image have the largest factors.

    Of the last layer of each stage whose attention weighs pixels, in colors of
    its own range, which is written above.

    Args:
        image: Array `(H, W, 3)`, as in `as_pixels`.
        found: `Attention` of a model with such layers.
        index: Integer, the place of the image among those of `found`.
        path: Path of the picture; its ending names the format.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If no layer weighs pixels.

    Example:

    >>> from keras_epsanet.explain.attention_values import (
    ...     Attention,
    ...     LayerAttention,
    ... )
    >>> factors = np.linspace(0, 1, 16).reshape(1, 4, 4)
    >>> layer = LayerAttention("gc", "GlobalContext", "conv2", pixels=factors)
    >>> found = Attention([layer], None, None)
    >>> draw_pixel_maps(np.zeros((8, 8, 3)), found, 0, "pixels.png")
    """
    missing = "No layer weighs pixels"
    stages = {x.stage: x for x in layers_with(found, "pixels", missing)}
    maps = {}
    for stage, layer in stages.items():
        factors = fill(layer.pixels[index])
        low, high = factors.min(), factors.max()
        heat = (factors - low) / max(high - low, 1e-12)
        title = f"{stage}: {low:.2g} to {high:.2g}"
        maps[title] = resize(heat, np.shape(image)[:2])
    draw_beside(image, maps, path)


def fill(factors):
    """Returns factors with the least one where there is none, NaN.

    Args:
        factors: Float array.

    Example:

    >>> fill(np.array([2.0, np.nan, 1.0])).tolist()
    [2.0, 1.0, 1.0]
    """
    is_known = np.isfinite(factors)
    least = factors[is_known].min() if is_known.any() else 0.0
    return np.where(is_known, factors, least)
