"""Figure 1 of the paper: accuracy against parameters and against FLOPs."""

import itertools
import math

from keras_epsanet.atomic import whole
from keras_epsanet.classification.comparison.table import paper_row
from keras_epsanet.classification.pictures import import_pyplot

# How far a label may lie from its point, in points of the page.
_DISTANCES = (10, 18, 28, 40, 54, 70, 90, 115, 145, 180, 220)
_ANGLES = (0, 180, 90, 270, 45, 135, 225, 315)
_LABEL = {"fontsize": 8}


def plot(rows, path, model=None):
    """Draws the accuracy of every network that has been trained.

    The bars are the standard deviation over the seeds.

    Args:
        rows: List of `table.Row`.
        path: Path of the picture to write.
        model: As of `table.records`; with it the picture has a star where
            the paper's EPSANet is.
    """
    rows = [row for row in rows if row.mean is not None]
    plt = import_pyplot()
    figure, axes = plt.subplots(
        1, 2, figsize=(11, 5), layout="constrained", sharey=True
    )
    big = max(row.cost["flops"] for row in rows) >= 1e9
    kinds = [("parameters", 1e6, "Parameters in millions")]
    kinds += [
        ("flops", 1e9, "FLOPs in billions")
        if big
        else ("flops", 1e6, "FLOPs in millions")
    ]
    for axis, (key, unit, title) in zip(axes, kinds):
        points = [(row.cost[key] / unit, 100 * row.mean) for row in rows]
        for row, (x, y) in zip(rows, points):
            bar = row.deviation and 100 * row.deviation
            axis.errorbar(x, y, bar, fmt="o", capsize=3)
        axis.set(xlabel=title)
        axis.margins(0.15)
        axis.grid(alpha=0.3)
    axes[0].set(ylabel="Held-out top-1 accuracy in %")
    if model:
        _add_paper(axes, model, 1 if big else 1000)
    figure.canvas.draw()
    figure.set_layout_engine("none")
    for axis, (key, unit, _) in zip(axes, kinds):
        points = [(row.cost[key] / unit, 100 * row.mean) for row in rows]
        label(axis, points, [row.name for row in rows])
    with whole(path) as temporary:
        figure.savefig(temporary, dpi=120)
    plt.close(figure)


def _add_paper(axes, model, scale):
    parameters, flops, top1 = paper_row("psa", model)
    for axis, x in zip(axes, (parameters, flops * scale)):
        axis.plot(x, top1, "*", color="black", label="EPSANet in the paper")
        axis.legend(loc="lower right")


def label(axis, points, names):
    """Names points so that no label lies on another one or on a point.

    Args:
        axis: Axes of matplotlib, in a figure that was drawn.
        points: List of pairs, in the units of the axes.
        names: List of strings.

    Returns:
        List of the annotations. One for which there is no place lies where
        the least is covered.
    """
    renderer = axis.figure.canvas.get_renderer()
    pixels = axis.transData.transform(points)
    inside = axis.get_window_extent(renderer)
    taken = [_box(x, y, 5) for x, y in pixels]
    labels = []
    for i in sorted(range(len(names)), key=lambda i: tuple(pixels[i])):
        note = axis.annotate(
            names[i],
            points[i],
            (0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            arrowprops={"arrowstyle": "-", "lw": 0.4, "alpha": 0.6},
            **_LABEL,
        )
        extent = note.get_window_extent(renderer)
        note.set_position(_place(axis, pixels[i], extent, taken, inside))
        taken.append(_text_box(note, renderer))
        labels.append(note)
    return labels


def _box(x, y, half):
    return x - half, y - half, x + half, y + half


def _text_box(note, renderer):
    """The box of the text alone, without the line to its point."""
    note.update_positions(renderer)
    return tuple(_text_extent(note, renderer).extents)


def _text_extent(note, renderer):
    from matplotlib.text import Text

    return Text.get_window_extent(note, renderer)


def _place(axis, pixel, extent, taken, inside):
    """The nearest offset, in points, at which a label covers the least."""
    scale = axis.figure.dpi / 72
    half = (extent.width / 2 + 1, extent.height / 2 + 1)
    best, least = (0, 0), math.inf
    for distance, angle in itertools.product(_DISTANCES, _ANGLES):
        sideways = math.cos(math.radians(angle))
        upwards = math.sin(math.radians(angle))
        # From the border of the text, which is wider than high.
        x = pixel[0] + sideways * (distance * scale + half[0])
        y = pixel[1] + upwards * (distance * scale + half[1])
        box = x - half[0], y - half[1], x + half[0], y + half[1]
        covered = sum(_shared(box, other) for other in taken)
        covered += (box[2] - box[0]) * (box[3] - box[1]) - _shared(
            box, tuple(inside.extents)
        )
        if covered < least - 1e-6:
            best = ((x - pixel[0]) / scale, (y - pixel[1]) / scale)
            least = covered
        if least <= 1e-6:
            break
    return best


def _shared(one, other):
    """The area that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0) * max(height, 0)
