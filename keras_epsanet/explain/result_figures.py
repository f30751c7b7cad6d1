"""Pictures of what a classifier can do, and of what it cannot."""

import numpy as np

from keras_epsanet.classification.pictures import (
    import_pyplot,
    plot_confusion,
    plot_predictions,
)
from keras_epsanet.classification.results import Results
from keras_epsanet.explain.layout import save
from keras_epsanet.explain.pixels import as_pixels


def draw_ablation(found, path):
    """Draws the accuracy that each scale of each stage is worth.

    Args:
        found: `ScaleAblation`.
        path: Path of the picture; its ending names the format.

    Raises:
        ImportError: If matplotlib is not installed.

    Example:

    >>> from keras_epsanet.explain.scale_switches import ScaleAblation
    >>> without = {"conv2": {"3×3": 0.5, "5×5": 0.7}, "all": {"3×3": 0.2}}
    >>> draw_ablation(ScaleAblation(100, 0.75, without), "ablation.png")
    """
    names = list(
        dict.fromkeys(x for row in found.without.values() for x in row)
    )
    lost = np.full((len(found.without), len(names)), np.nan)
    for i, row in enumerate(found.without.values()):
        for name, accuracy in row.items():
            lost[i, names.index(name)] = 100 * (accuracy - found.accuracy)
    reach = max(np.nanmax(np.abs(lost)), 1)
    figure, axis = import_pyplot().subplots(
        figsize=(2 + 0.9 * len(names), 1.4 + 0.5 * len(lost)),
        layout="constrained",
    )
    picture = axis.imshow(
        lost, cmap="RdBu", vmin=-reach, vmax=reach, aspect="auto"
    )
    for (row, column), value in np.ndenumerate(lost):
        if np.isfinite(value):
            color = "white" if abs(value) > 0.6 * reach else "black"
            axis.text(
                column,
                row,
                f"{value:+.1f}",
                ha="center",
                va="center",
                color=color,
            )
    axis.set_xticks(range(len(names)), names)
    axis.set_yticks(range(len(lost)), found.without)
    axis.set(
        title=f"Without a scale: points of {found.accuracy:.1%}",
        xlabel="Scale that is switched off",
        ylabel="Stage",
    )
    figure.colorbar(picture)
    save(figure, path)


def draw_confusion(found, path):
    """Draws which share of each class is taken for which.

    Args:
        found: `Errors`.
        path: Path of the picture; its ending names the format.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    plot_confusion(found.results, path)


def draw_mistakes(found, path):
    """Draws the most certain mistakes: what they are, and are taken for.

    Args:
        found: `Errors`, of images in a range of `draw_maps`, channels last.
        path: Path of the picture; its ending names the format.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no mistake.
    """
    if not len(found.mistakes):
        raise ValueError(
            "There is no mistake to draw. Received: "
            f"{len(found.results.labels)} images that are all named rightly"
        )
    results = Results(
        found.results.class_names,
        found.results.labels[found.mistakes],
        found.results.probabilities[found.mistakes],
    )
    number = len(found.images)
    plot_predictions(as_pixels(found.images), results, path, number)


def draw_calibration(found, path, bins=15):
    """Draws how often a classifier is right, by how certain it is.

    Args:
        found: `Errors`.
        path: Path of the picture; its ending names the format.
        bins: Integer, number of ranges.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    calibration = found.calibration(bins)
    figure, (above, below) = import_pyplot().subplots(
        2,
        1,
        figsize=(4, 4.8),
        height_ratios=(3, 1),
        sharex=True,
        layout="constrained",
    )
    filled = calibration.counts > 0
    places = (np.arange(bins)[filled] + 0.5) / bins
    above.bar(
        places,
        calibration.accuracy[filled],
        0.9 / bins,
        label="share that is right",
    )
    above.plot(
        calibration.confidence[filled],
        calibration.confidence[filled],
        "k_",
        label="mean probability",
    )
    above.plot([0, 1], [0, 1], color="gray", linewidth=0.8, linestyle="--")
    above.set(
        title=f"Calibration error (ECE) {calibration.error:.1%}",
        ylabel="Right",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    above.legend(fontsize=8, loc="upper left")
    below.bar(places, calibration.counts[filled], 0.9 / bins, color="gray")
    below.set(xlabel="Probability of the predicted class", ylabel="Images")
    save(figure, path)
