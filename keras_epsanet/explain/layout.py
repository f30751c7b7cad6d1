"""How pictures are laid out, and saved."""

from keras_epsanet.atomic import whole
from keras_epsanet.classification.pictures import import_pyplot

_SIDE = 2.2  # Inches of an image.


def grid(rows, columns, size):
    """Makes a figure of axes for images of one size, without ticks.

    Args:
        rows, columns: Integers.
        size: Pair of integers, height and width of the images.

    Returns:
        Figure of matplotlib and an array `(rows, columns)` of its axes.

    Raises:
        ImportError: If matplotlib is not installed.
    """
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


def write_above(axis, text):
    """Writes above an image, whatever signs are in it."""
    axis.set_title(text, fontsize=9, parse_math=False)


def write_beside(axis, text):
    """Writes beside an image, whatever signs are in it."""
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
