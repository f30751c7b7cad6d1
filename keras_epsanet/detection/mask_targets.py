"""What a mask head should answer: masks as they are seen in boxes.

MMDetection resizes the mask of an object to the image, takes ROIAlign of it
with as many samples as there are pixels, and compares with a half. Along an
axis that is a weighted sum of the mask's rows or columns, so the result is a
product of three matrices. The weights need no samples: the number of samples
of a bin before a pixel is a sum that can be written down.
"""

import numpy as np
from keras import ops

# A half, but for rounding: where it is met exactly a pixel is of the object.
THRESHOLD = 0.5 - 1e-5


def crop_masks(masks, objects, boxes, size, grids=None):
    """The part of its object's mask that each box has.

    Args:
        masks: Without `grids` a tensor `(N, objects, H, W)` of 0 and 1, in
            pixels of the images; otherwise uint8 `(N, objects, S, S)`,
            from 0 to 255, how much of each cell the object covers.
        objects: Int32 tensor `(N, boxes)`, indices of the objects.
        boxes: Float tensor `(N, boxes, 4)`, corners in pixels.
        size: Integer, height and width of the result.
        grids: Float tensor `(N, objects, 2, S + 1)`, where the rows of cells
            and the columns of cells begin, and the last ends, in pixels;
            descending where the image is flipped.

    Returns:
        Float32 tensor `(N, boxes, size, size)` of 0 and 1.

    Example:

    >>> mask = ops.array([[[[1, 1, 0, 0], [1, 1, 0, 0]]]])
    >>> boxes = ops.array([[[0.0, 0, 4, 2]]])
    >>> crop = crop_masks(mask, ops.array([[0]]), boxes, 2)
    >>> [int(x) for x in ops.reshape(crop, (-1,))]
    [1, 0, 1, 0]
    """
    batch, number = ops.shape(masks)[:2]
    height, width = ops.shape(masks)[2:]
    samples = ops.shape(boxes)[1]
    images = ops.arange(batch, dtype="int32")[:, None] * number
    places = ops.reshape(images + ops.cast(objects, "int32"), (-1,))
    boxes = ops.stop_gradient(ops.cast(boxes, "float32"))
    boxes = ops.reshape(boxes, (-1, 4))
    masks = ops.reshape(masks, (-1, height, width))
    if grids is None:
        crops = _crop_planes(masks, places, boxes, size)
    else:
        grids = ops.cast(grids, "float32")
        grids = ops.reshape(grids, (-1, 2, ops.shape(grids)[3]))
        # Without kernels of its own for integers a GPU would have to wait.
        cells = ops.take(ops.cast(masks, "float32") / 255, places, axis=0)
        edges = ops.take(grids, places, axis=0)
        crops = _crop(cells, boxes, edges[:, 0], edges[:, 1], size)
    crops = ops.reshape(crops, (batch, samples, size, size))
    return ops.cast(crops >= THRESHOLD, "float32")


def unfold_masks(masks, grids, height, width):
    """Draws the cells of masks in the pixels that show them.

    Args:
        masks: Array uint8 `(objects, S, S)`, from 0 to 255.
        grids: Array `(objects, 2, S + 1)`, as in `crop_masks`.
        height, width: Integers, size of the image in pixels.

    Returns:
        Array uint8 `(objects, height, width)` of 0 and 1.
    """
    planes = np.zeros((len(masks), height, width), "uint8")
    for plane, mask, grid in zip(planes, masks, grids):
        # One more row and column for the pixels outside.
        cells = np.pad(np.asarray(mask) >= 128, (0, 1))
        rows, columns = (
            _cell_numbers(edges, limit)
            for edges, limit in zip(np.asarray(grid), (height, width))
        )
        plane[:] = cells[rows[:, None], columns]
    return planes


def _cell_numbers(edges, limit):
    flipped = edges[0] > edges[-1]
    edges = edges[::-1] if flipped else edges
    last = len(edges) - 2
    cells = np.searchsorted(edges, np.arange(limit), "right") - 1
    outside = (cells < 0) | (cells > last)
    return np.where(outside, last + 1, last - cells if flipped else cells)


def _crop_planes(masks, places, boxes, size):
    """The same of masks whose cells are the pixels, one after the other."""
    # All at once they would take a plane for every box.
    rows, columns = (_pixel_edges(side) for side in ops.shape(masks)[1:])

    def crop(item):
        place, box = item
        plane = ops.cast(ops.take(masks, place, axis=0), "float32")
        return _crop(plane[None], box[None], rows, columns, size)[0]

    return ops.map(crop, (places, boxes))


def _pixel_edges(side):
    """Edges of pixels; those at the border lie a pixel further out."""
    edges = ops.arange(side + 1, dtype="float32")[None]
    side = ops.cast(side, "float32")
    first, last = ops.equal(edges, 0), ops.equal(edges, side)
    return edges - ops.cast(first, "float32") + ops.cast(last, "float32")


def _crop(cells, boxes, rows, columns, size):
    """Means of the samples in the bins of boxes, `(boxes, size, size)`.

    ROIAlign takes samples more than a pixel outside of the image for 0. Here
    they fade out within the next pixel, for the edges do not say where they
    end; boxes that are clipped to the image have none.
    """
    vertical = _weights(boxes[:, 1], boxes[:, 3], rows, size)
    horizontal = _weights(boxes[:, 0], boxes[:, 2], columns, size)
    return vertical @ cells @ ops.swapaxes(horizontal, 1, 2)


def _weights(first, last, edges, bins):
    """Weights of cells in the bins between coordinates, along one axis.

    Args:
        first, last: Tensors `(boxes,)`.
        edges: Tensor `(boxes, cells + 1)`.
        bins: Integer.

    Returns:
        Tensor `(boxes, bins, cells)`.
    """
    side = ops.maximum(last - first, 1e-6)
    number = ops.maximum(ops.ceil(side / bins), 1.0)
    step = (side / (bins * number))[:, None, None]
    # Of the first sample of a bin; the middle of the first pixel is at 0.
    begin = ops.arange(bins, dtype="float32") * number[:, None]
    place = first[:, None] - 0.5 + (begin + 0.5) * step[:, 0]
    distance = edges[:, None] - place[:, :, None]
    number = number[:, None, None]
    # A sample belongs to the pixels before an edge as a whole if the edge is
    # a pixel or more further, and else by its distance: it is interpolated.
    whole = ops.clip(ops.floor((distance - 1) / step) + 1, 0.0, number)
    some = ops.clip(ops.ceil(distance / step), 0.0, number)
    partly = (some - whole) * (distance - step * (some + whole - 1) / 2)
    before = (whole + partly) / number
    return ops.abs(before[..., 1:] - before[..., :-1])
