"""Pictures of how a classifier learned and what it predicts."""

import csv

import numpy as np

from keras_epsanet import storage
from keras_epsanet.atomic import whole

# Classes whose names and numbers fit into the picture of a matrix.
READABLE = 30


def import_pyplot():
    """Imports matplotlib without a screen, or says how to install it."""
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError(
            "The pictures need matplotlib: pip install matplotlib"
        ) from error
    matplotlib.use("Agg")
    import matplotlib.pyplot

    return matplotlib.pyplot


def plot_curves(log, path):
    """Draws loss and accuracy of every epoch.

    Args:
        log: Path of the `log.csv` of a training.
        path: Path of the picture to write.
    """
    with storage.open_file(log, newline="") as file:
        rows = list(csv.DictReader(file))
    figure, axes = import_pyplot().subplots(
        1, 2, figsize=(10, 4), layout="constrained"
    )
    epochs = [int(row["epoch"]) + 1 for row in rows]
    marks = len(epochs) <= 50
    for axis, key, title in zip(
        axes, ("loss", "top1"), ("Loss", "Top-1 accuracy")
    ):
        for name, mark, label in (
            (key, "o", "training"),
            (f"val_{key}", "s", "held out"),
        ):
            values = [float(row[name]) for row in rows]
            axis.plot(epochs, values, mark * marks + "-", label=label)
        axis.set(title=title, xlabel="Epoch", xlim=(0.5, max(epochs) + 0.5))
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axis.grid(alpha=0.3)
        axis.legend()
    axes[1].yaxis.set_major_formatter(_percent())
    _save(figure, path)


def plot_predictions(images, results, path, number=24):
    """Draws images with what they are and what they are taken for.

    Args:
        images: Array `(N, H, W, 3)` of bytes, the first ones of `results`.
        results: `Results`.
        path: Path of the picture to write.
        number: Integer, how many images are drawn at most.
    """
    images = images[:number]
    columns = min(6, len(images))
    rows = -(-len(images) // columns)
    figure, axes = import_pyplot().subplots(
        rows,
        columns,
        figsize=(2 * columns + 0.5, 0.5 + 2.4 * rows),
        layout="constrained",
        squeeze=False,
    )
    figure.suptitle("Held-out images: true class → predicted")
    for axis in axes.flat:
        axis.axis("off")
    names = results.class_names
    for axis, image, label, predicted, probabilities in zip(
        axes.flat,
        images,
        results.labels,
        results.predicted,
        results.probabilities,
    ):
        axis.imshow(image.astype("uint8"))
        true, taken = (_shortened(names[i]) for i in (label, predicted))
        axis.set_title(
            f"{true}\n→ {taken} {max(probabilities):.0%}",
            color="green" if predicted == label else "red",
            fontsize=10,
            parse_math=False,
        )
    _save(figure, path)


def _shortened(name, length=14):
    """A name that is not wider than its image."""
    return name if len(name) <= length else f"{name[: length - 1]}…"


def plot_confusion(results, path):
    """Draws which share of each class is taken for which.

    Args:
        results: `Results`.
        path: Path of the picture to write.
    """
    counts = results.confusion
    size = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.5 + 0.55 * min(size, READABLE)
    figure, axis = import_pyplot().subplots(
        figsize=(side + 1, side), layout="constrained"
    )
    picture = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, format=_percent())
    axis.set(
        title=f"Held-out images: {results.accuracy():.1%} right",
        xlabel="Predicted",
        ylabel="True class",
    )
    if size <= READABLE:
        for ticks, rotation in ((axis.set_xticks, 90), (axis.set_yticks, 0)):
            ticks(
                range(size),
                results.class_names,
                rotation=rotation,
                parse_math=False,
            )
        for (row, column), count in np.ndenumerate(counts):
            axis.text(
                column,
                row,
                count or "",
                ha="center",
                va="center",
                color="white" if shares[row, column] > 0.5 else "black",
            )
    _save(figure, path)


def _percent():
    """Formats shares with as many digits as the distances need."""
    from matplotlib.ticker import PercentFormatter

    return PercentFormatter(1.0)


def _save(figure, path):
    with whole(path) as temporary:
        figure.savefig(temporary, dpi=120)
    import_pyplot().close(figure)
