"""Maps at the size of an image, and in the range from 0 to 1."""

import numpy as np


def resize(maps, size, align_corners=False):
    """Resizes maps, bilinear and without antialiasing.

    Args:
        maps: Array `(..., h, w)`.
        size: Pair of integers, height and width wanted, in pixels.
        align_corners: Whether the middles of the pixels at the corners stay
            where they are, instead of the corners of the image.

    Returns:
        Float32 array `(..., height, width)`.

    Example:

    >>> resize(np.array([[0.0, 8.0]]), (1, 4)).tolist()
    [[0.0, 2.0, 6.0, 8.0]]
    """
    rows, columns = (
        _shares(before, after, align_corners)
        for before, after in zip(np.shape(maps)[-2:], size)
    )
    return np.asarray(rows @ maps @ columns.T, "float32")


def _shares(before, after, align_corners):
    """Returns `(after, before)`: what each new pixel has of the old ones."""
    new = np.arange(after, dtype="float64")
    if align_corners:
        places = new * ((before - 1) / max(after - 1, 1))
    else:
        places = (new + 0.5) * (before / after) - 0.5
    places = np.clip(places, 0, before - 1)
    distance = np.abs(places[:, None] - np.arange(before))
    # In float64, so that equal pixels stay equal.
    return np.maximum(1 - distance, 0)


def rescale(maps):
    """Shifts and scales each map to the range from 0 to 1.

    Args:
        maps: Array `(N, h, w)`.

    Returns:
        Array of the same shape; a map of equal numbers becomes 0.

    Example:

    >>> rescale(np.array([[[1.0, 3.0]]])).round(3).tolist()
    [[[0.0, 1.0]]]
    """
    maps = maps - maps.min(axis=(-2, -1), keepdims=True)
    return maps / (1e-7 + maps.max(axis=(-2, -1), keepdims=True))


def finish(maps, size):
    """Makes heatmaps of what a method has found at the size of a layer.

    What speaks against a class is left out. The order is that of the package
    `grad-cam`: to the range, to the size, to the range.

    Args:
        maps: Float array `(N, h, w)`.
        size: Pair of integers, height and width of the images.

    Returns:
        Float32 array `(N, H, W)`, from 0 to 1.
    """
    maps = rescale(np.maximum(np.asarray(maps, "float32"), 0))
    return rescale(np.maximum(resize(maps, size), 0))
