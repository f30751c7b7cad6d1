"""A picture of what attention weighs, as a paper would have it."""

import numpy as np

from keras_epsanet.classification.pictures import import_pyplot
from keras_epsanet.explain.attention_values import layers_with
from keras_epsanet.explain.layout import save

_SCALE_COLORS = "viridis"


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

    Example:

    >>> from keras_epsanet.explain.attention_values import (
    ...     Attention,
    ...     LayerAttention,
    ... )
    >>> gates = np.linspace(0, 1, 8).reshape(1, 8)
    >>> layer = LayerAttention("conv2_se", "SE", "conv2", channels=gates)
    >>> draw_attention(Attention([layer], None, None), "attention.png")
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
            error_kw={"elinewidth": 0.8, "ecolor": "gray"},
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
    missing = "No layer weighs scales or channels"
    layers = layers_with(found, "channels", missing)
    figure, axis = import_pyplot().subplots(
        figsize=(max(5.5, 0.4 * len(layers)), 4), layout="constrained"
    )
    values = [x.channels[np.isfinite(x.channels)] for x in layers]
    axis.boxplot(values, showfliers=False)
    axis.set_xticklabels([x.name for x in layers], rotation=90, fontsize=8)
    axis.set(title="Weights of the channels", ylabel="Weight")
    save(figure, path)
