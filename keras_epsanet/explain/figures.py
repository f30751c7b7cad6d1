"""Pictures of maps and of what scales weigh, as a paper would have them."""

import numpy as np

from keras_epsanet.atomic import whole
from keras_epsanet.classification.pictures import import_pyplot
from keras_epsanet.explain.map_sizes import resize
from keras_epsanet.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD

_COLORS = "turbo"
_SCALE_COLORS = "viridis"
_SIDE = 2.2  # Inches of an image.


def as_pixels(images, data_format="channels_last"):
    """Returns images as they can be drawn.

    Args:
        images: Array `(N, H, W, 3)` or `(N, H, W, 1)`, from 0 to 255, from 0
            to 1, or normalized by `preprocess_input`: the range tells.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        Uint8 array `(N, H, W, 3)`.

    Example:

    >>> as_pixels(np.full((1, 1, 1, 1), 0.5)).tolist()
    [[[[128, 128, 128]]]]
    """
    images = np.asarray(images, "float32")
    if data_format == "channels_first":
        images = np.moveaxis(images, 1, -1)
    if images.min(initial=0) < 0:
        images = images * IMAGENET_STD + IMAGENET_MEAN
    if images.max(initial=0) <= 1 or images.min(initial=0) < 0:
        images = 255 * images
    images = np.repeat(images, 3 // images.shape[-1], axis=-1)
    return np.clip(np.round(images), 0, 255).astype("uint8")


def overlay(image, heat, strength=0.5):
    """Lays a map over an image.

    Args:
        image: Uint8 array `(H, W, 3)`.
        heat: Float array `(H, W)`, from 0 (blue) to 1 (red).
        strength: Float from 0 to 1, share of the map.

    Returns:
        Uint8 array `(H, W, 3)`.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    import_pyplot()
    from matplotlib import colormaps

    colors = 255 * colormaps[_COLORS](np.asarray(heat))[..., :3]
    mixed = strength * colors + (1 - strength) * np.asarray(image)
    return np.clip(np.round(mixed), 0, 255).astype("uint8")


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
    figure, axes = _grid(bands * len(rows), columns, images.shape[1:3])
    for i in range(bands * columns):
        band, column = divmod(i, columns)
        for row, (name, pictures) in enumerate(rows.items()):
            axis = axes[band * len(rows) + row, column]
            if i < len(images):
                axis.imshow(pictures[i])
            if column == 0:
                _write_beside(axis, name)
        if titles is not None and i < len(images):
            _title(axes[band * len(rows), column], titles[i])
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
    figure, axes = _grid(1, 1 + len(maps), image.shape[:2])
    axes[0, 0].imshow(image)
    for axis, (name, heat) in zip(axes[0, 1:], maps.items()):
        axis.imshow(overlay(image, heat))
        _title(axis, name)
    save(figure, path)


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
    """
    stages = {x.stage: x for x in found.layers if x.scale_maps is not None}
    if not stages:
        kinds = sorted({x.kind for x in found.layers})
        raise ValueError(
            f"Only PSA has maps of its scales. Received: layers of {kinds}"
        )
    (image,) = as_pixels(image[None])
    gray = np.repeat(image.mean(-1, keepdims=True), 3, -1)
    columns = 1 + max(len(x.scale_names) for x in stages.values())
    figure, axes = _grid(len(stages), columns, image.shape[:2])
    axes[0, 0].imshow(image)
    for row, (stage, layer) in zip(axes, stages.items()):
        _write_beside(row[0], stage)
        maps = resize(layer.scale_maps[index], image.shape[:2])
        low, high = maps.min(), maps.max()
        means = layer.scales[index].mean(axis=-1)
        for axis, name, heat, mean in zip(
            row[1:], layer.scale_names, maps, means
        ):
            heat = (heat - low) / max(high - low, 1e-12)
            axis.imshow(overlay(gray, heat))
            _title(axis, f"{name}: {mean:.0%}")
    save(figure, path)


def draw_attention(found, path):
    """Draws which scale decides: in which stage, and for which class.

    Of layers without scales it draws how the weights of the channels are
    spread, layer by layer.

    Args:
        found: `Attention`.
        path: Path of the picture; its ending names the format.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If no layer weighs scales or channels.
    """
    stages = found.scales_by_stage()
    if not stages:
        _draw_channels(found, path)
        return
    names = next(x.scale_names for x in found.layers if x.scale_names)
    classes = _classes(found)
    figure, axes = import_pyplot().subplots(
        1,
        1 + bool(classes),
        figsize=(5.5 + 5.5 * bool(classes), 3.4 + 0.16 * len(classes)),
        layout="constrained",
        squeeze=False,
    )
    _draw_stages(axes[0, 0], stages, names)
    if classes:
        _draw_classes(figure, axes[0, 1], stages, names, classes)
    save(figure, path)


def _classes(found):
    """Images of each class that is predicted, if there are several."""
    numbers = [] if found.predicted is None else np.unique(found.predicted)
    if len(numbers) < 2:
        return {}
    names = found.class_names or [str(i) for i in range(max(numbers) + 1)]
    return {names[i]: found.predicted == i for i in numbers}


def _draw_stages(axis, stages, names):
    """Bars: the mean weight of each scale, with its spread over the images."""
    from matplotlib import colormaps

    width = 0.8 / len(names)
    for i, name in enumerate(names):
        # From where no scale is above another one.
        means = [x[:, i].mean() - 1 / len(names) for x in stages.values()]
        spreads = [shares[:, i].std() for shares in stages.values()]
        axis.bar(
            np.arange(len(stages)) + (i - (len(names) - 1) / 2) * width,
            means,
            width,
            bottom=1 / len(names),
            yerr=spreads,
            color=colormaps[_SCALE_COLORS](i / max(len(names) - 1, 1)),
            error_kw={"elinewidth": 0.8},
            label=name,
        )
    axis.axhline(1 / len(names), color="gray", linewidth=0.8, linestyle="--")
    axis.set(title="Mean weight of each scale", xlabel="Stage", ylabel="Weight")
    axis.set_xticks(range(len(stages)), stages)
    axis.figure.legend(ncols=len(names), fontsize=8, loc="outside lower center")


def _draw_classes(figure, axis, stages, names, classes):
    """A row for each class: what its weights are above those of all."""
    table = np.array(
        [
            np.concatenate(
                [x[chosen].mean(0) - x.mean(0) for x in stages.values()]
            )
            for chosen in classes.values()
        ]
    )
    reach = max(np.abs(table).max(), 1e-6)
    picture = axis.imshow(
        table, cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto"
    )
    axis.set(title="Weight above that of all images", ylabel="Predicted")
    axis.set_yticks(range(len(classes)), classes, parse_math=False)
    columns = [f"{stage} {name}" for stage in stages for name in names]
    axis.set_xticks(range(len(columns)), columns, rotation=90, fontsize=8)
    for i in range(1, len(stages)):
        axis.axvline(i * len(names) - 0.5, color="black", linewidth=0.8)
    figure.colorbar(picture)


def _draw_channels(found, path):
    layers = [x for x in found.layers if x.channels is not None]
    if not layers:
        kinds = sorted({x.kind for x in found.layers})
        raise ValueError(
            f"No layer weighs scales or channels. Received: layers of {kinds}"
        )
    figure, axis = import_pyplot().subplots(
        figsize=(max(5.5, 0.4 * len(layers)), 4), layout="constrained"
    )
    values = [x.channels[np.isfinite(x.channels)] for x in layers]
    axis.boxplot(values, showfliers=False)
    axis.set_xticklabels([x.name for x in layers], rotation=90, fontsize=8)
    axis.set(title="Weights of the channels", ylabel="Weight")
    save(figure, path)


def _grid(rows, columns, size):
    height, width = size
    figure, axes = import_pyplot().subplots(
        rows,
        columns,
        figsize=(
            _SIDE * columns + 0.4,
            (_SIDE * height / width + 0.25) * rows,
        ),
        layout="constrained",
        squeeze=False,
    )
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.set_frame_on(False)
    return figure, axes


def _title(axis, text):
    axis.set_title(text, fontsize=9, parse_math=False)


def _write_beside(axis, text):
    axis.set_ylabel(text.strip(), fontsize=9, parse_math=False)


def save(figure, path):
    """Writes a figure as a whole, and closes it.

    Args:
        figure: Figure of matplotlib.
        path: Path of the picture; its ending names the format.
    """
    with whole(path) as temporary:
        figure.savefig(temporary, dpi=110)
    import_pyplot().close(figure)
