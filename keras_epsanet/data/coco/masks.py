"""Masks of COCO's objects, cropped to what the objects cover.

A plane for every object would take a hundred times the memory of the image.
Instead a mask is `SIDE` x `SIDE` cells of the file's image, which begin where
the object begins: single pixels if it fits in, otherwise blocks of pixels
with their mean. A grid says which pixels of the resized and flipped image
show which cells, as `keras_epsanet.detection.mask_targets` reads it.
"""

import math

import numpy as np

SIDE = 112
# A list of four numbers is a box for pycocotools, not a polygon.
_LEAST_NUMBERS = 6
# Outlines further away than this many pixels are mistakes, and pycocotools
# would take all the memory for them.
_FURTHEST = 1e5


def has_mask(segmentation, height, width):
    """Whether a mask can be drawn of an object.

    Args:
        segmentation: What the annotation has as `segmentation`, or `None`.
        height, width: Integers, size of the image in pixels.

    Returns:
        Boolean. Of several polygons one of at least three points is enough.

    Example:

    >>> has_mask([[1, 1, 5, 1, 5, 4]], 8, 8), has_mask([[1, 1, 5, 4]], 8, 8)
    (True, False)
    """
    if isinstance(segmentation, list):
        return bool(_polygons(segmentation))
    if not isinstance(segmentation, dict):
        return False
    counts, size = segmentation.get("counts"), segmentation.get("size")
    if not isinstance(size, (list, tuple)) or [*size] != [height, width]:
        return False
    if isinstance(counts, list):
        return (
            all(isinstance(n, int) and n >= 0 for n in counts)
            and sum(counts) == height * width
            and any(counts[1::2])
        )
    return bool(isinstance(counts, (str, bytes)) and _area(segmentation))


def encode(segmentation, height, width):
    """Makes compressed run lengths of an object's mask.

    Args:
        segmentation, height, width: As in `has_mask`, which must be true.

    Returns:
        Dictionary for the functions of `pycocotools.mask`.
    """
    import pycocotools.mask

    if isinstance(segmentation, list):
        runs = pycocotools.mask.frPyObjects(
            _polygons(segmentation), height, width
        )
        return pycocotools.mask.merge(runs)
    if isinstance(segmentation["counts"], list):
        return pycocotools.mask.frPyObjects(segmentation, height, width)
    return segmentation


def draw_planes(segmentations, height, width):
    """Draws the masks of the objects of an image.

    Args:
        segmentations: List of what `has_mask` accepts.
        height, width: Integers, size of the image in pixels.

    Returns:
        Array uint8 `(objects, height, width)`, 0 or 1.
    """
    import pycocotools.mask

    planes = np.zeros((len(segmentations), height, width), "uint8")
    for plane, segmentation in zip(planes, segmentations):
        plane[:] = pycocotools.mask.decode(encode(segmentation, height, width))
    return planes


def encode_planes(planes):
    """Makes of masks what `has_mask` accepts.

    Args:
        planes: Array uint8 `(objects, height, width)`, 0 or 1.

    Returns:
        List of dictionaries of COCO's run lengths.
    """
    import pycocotools.mask

    return [pycocotools.mask.encode(np.asfortranarray(x)) for x in planes]


def crop_objects(segmentations, original_size, size, padded, flip, rows):
    """Makes the masks and grids of the objects of an image.

    Which pixel of the file is seen in a pixel of the resized image is that
    of OpenCV's `INTER_NEAREST`, with which MMDetection resizes masks.

    Args:
        segmentations: List of what `has_mask` accepts.
        original_size, size: Pairs of integers, height and width of the
            file's image and after resizing, in pixels.
        padded: Pair of integers, height and width after padding.
        flip: Whether left and right change places after resizing.
        rows: Integer, number of rows of the result.

    Returns:
        Two arrays: the masks, uint8 `(rows, SIDE, SIDE)`, how much of a cell
        belongs to the object, from 0 to 255; and the grids, float32
        `(rows, 2, SIDE + 1)`, where the rows of cells and the columns of
        cells begin, and the last ends, in pixels of the padded image. Both
        are 0 beyond the last object.
    """
    masks = np.zeros((rows, SIDE, SIDE), "uint8")
    grids = np.zeros((rows, 2, SIDE + 1), "float32")
    seen = [
        _seen_pixels(original, resized)
        for original, resized in zip(original_size, size)
    ]
    for mask, grid, segmentation in zip(masks, grids, segmentations):
        begins, blocks = _crop(encode(segmentation, *original_size), mask)
        for axis, (begin, block) in enumerate(zip(begins, blocks)):
            starts = begin + block * np.arange(SIDE + 1)
            edges = np.searchsorted(seen[axis], starts)
            if flip and axis == 1:
                edges = size[1] - edges
            grid[axis] = extend_edges(edges, padded[axis])
    return masks, grids


def extend_edges(edges, limit):
    """Moves edges at the border of an image out by a pixel.

    ROIAlign's samples within a pixel outside of the image have the value of
    its border, so they belong to the cell there.

    Args:
        edges: Integer array.
        limit: Integer, height or width of the image in pixels.

    Returns:
        Integer array of the same shape.
    """
    return edges - (edges == 0) + (edges == limit)


def _polygons(segmentation):
    """The polygons of three points and more, all of them numbers."""
    return [
        polygon
        for polygon in segmentation
        if isinstance(polygon, list)
        and len(polygon) >= _LEAST_NUMBERS
        and len(polygon) % 2 == 0
        and _are_near(polygon)
    ]


def _are_near(coordinates):
    try:
        # A single NaN makes the sum one.
        return math.isfinite(sum(coordinates)) and all(
            abs(x) <= _FURTHEST for x in (min(coordinates), max(coordinates))
        )
    except (OverflowError, TypeError):
        return False


def _area(runs):
    import pycocotools.mask

    try:
        return int(pycocotools.mask.decode(runs).sum())
    except (TypeError, ValueError):
        return 0


def _seen_pixels(original, resized):
    """The pixel of the file that is seen in each of the resized image."""
    # In this order, for the rounding is OpenCV's too.
    pixels = np.floor(np.arange(resized) * (1 / (resized / original)))
    return np.minimum(pixels, original - 1)


def _crop(runs, cells):
    """Fills the cells, and returns where they begin and their sizes."""
    import pycocotools.mask

    left, top, width, height = map(int, pycocotools.mask.toBbox(runs))
    if not width * height:
        return (0, 0), (1, 1)
    # Columns are contiguous in what `decode` returns.
    plane = pycocotools.mask.decode(runs).T
    mask = plane[left : left + width, top : top + height]
    blocks = tuple(-(-side // SIDE) for side in (height, width))
    if max(blocks) == 1:
        cells[:height, :width] = 255 * mask.T
        return (top, left), blocks
    for axis, block in enumerate(reversed(blocks)):
        places = np.arange(0, mask.shape[axis], block)
        mask = np.add.reduceat(mask, places, axis=axis, dtype="uint32")
    means = np.round(mask.T * (255 / np.prod(blocks)))
    cells[: means.shape[0], : means.shape[1]] = means
    return (top, left), blocks
