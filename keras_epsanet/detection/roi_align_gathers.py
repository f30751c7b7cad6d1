"""ROIAlign made of gathers: the four neighbors of every sample."""

from typing import Any, NamedTuple

from keras import ops


class Places(NamedTuple):
    """Where boxes lie in the pixels of all levels in a row.

    Attributes:
        boxes: Float32 tensor `(boxes, 4)`, corners in pixels of their level.
        first: Int32 tensor `(boxes,)`, first pixel of the level and image.
        width: Int32 tensor `(boxes,)`, pixels of a row of the level.
        sides: Pair of float32 tensors `(boxes,)`, height and width of it.
    """

    boxes: Any
    first: Any
    width: Any
    sides: Any


def locate(levels, strides, boxes, images, chosen):
    """Puts the pixels of all levels into a row, and boxes into these levels.

    Args:
        levels: List of tensors `(N, H, W, C)`.
        strides: List of integers, pixels of the image in one of each level.
        boxes: Float32 tensor `(boxes, 4)`, corners in pixels of the image.
        images: Int32 tensor `(boxes,)`, numbers of the features' images.
        chosen: Int32 tensor `(boxes,)`, numbers of the levels.

    Returns:
        Tensor `(pixels, C)` and `Places`.
    """
    levels = [ops.convert_to_tensor(level) for level in levels]
    channels = levels[0].shape[-1]
    sizes = [ops.shape(level)[1:3] for level in levels]
    pixels = [height * width for height, width in sizes]
    batch = ops.shape(levels[0])[0]
    rows = ops.concatenate(
        [ops.reshape(level, (-1, channels)) for level in levels]
    )

    def of_level(values, dtype):
        return ops.take(ops.cast(ops.stack(values), dtype), chosen, axis=0)

    begins = [batch * sum(pixels[:i]) for i in range(len(levels))]
    places = Places(
        boxes / of_level(strides, "float32")[:, None],
        of_level(begins, "int32") + images * of_level(pixels, "int32"),
        of_level([width for _, width in sizes], "int32"),
        tuple(of_level(side, "float32") for side in zip(*sizes)),
    )
    return rows, places


def samples_of_pixels(places, output_size):
    """As many samples of a bin as there are pixels in it.

    Args:
        places: `Places`.
        output_size: Integer, bins along a side.

    Returns:
        Int32 tensor `(boxes, 2)`, samples along height and width.
    """
    x1, y1, x2, y2 = (places.boxes[:, i] for i in range(4))
    sides = ops.stack((y2 - y1, x2 - x1), axis=1)
    # Boxes without a width or height have a sample all the same.
    ratios = ops.maximum(ops.ceil(sides / output_size), 1.0)
    return ops.cast(ratios, "int32")


def align(rows, places, output_size, ratios):
    """Means of the samples of bins, the same numbers in all boxes.

    Args:
        rows, places: What `locate` returned.
        output_size: Integer, height and width of the result.
        ratios: Pair of integers, samples along height and width of a bin.

    Returns:
        Tensor `(boxes, output_size, output_size, C)`.
    """
    x1, y1, x2, y2 = (places.boxes[:, i] for i in range(4))
    corners = []
    for first, last, size, ratio in (
        (y1, y2, places.sides[0], ratios[0]),
        (x1, x2, places.sides[1], ratios[1]),
    ):
        samples = output_size * ratio
        steps = ops.arange(samples, dtype="float32") + 0.5
        corners.append(neighbors(first, last, size, steps / samples))
    total = 0.0
    for indices, weights in corner_pixels(places, *corners):
        weights = ops.cast(weights[..., None], rows.dtype)
        total = total + ops.take(rows, indices, axis=0) * weights
    return ops.average_pool(total, ratios, ratios, data_format="channels_last")


def align_by_ratios(rows, places, output_size):
    """Means of as many samples as there are pixels, on PyTorch.

    Boxes with the same numbers of samples are taken at once.

    Args:
        rows, places, output_size: As in `align`.

    Returns:
        As `align`.
    """
    import torch

    numbers = samples_of_pixels(places, output_size)
    kinds, kind_of = torch.unique(numbers, dim=0, return_inverse=True)
    parts, orders = [], []
    for i, ratios in enumerate(kinds.tolist()):
        where = torch.nonzero(kind_of == i)[:, 0]
        part = Places(
            places.boxes[where],
            places.first[where],
            places.width[where],
            tuple(side[where] for side in places.sides),
        )
        parts.append(align(rows, part, output_size, tuple(ratios)))
        orders.append(where)
    if not parts:
        shape = (0, output_size, output_size, rows.shape[-1])
        return torch.zeros(shape, dtype=rows.dtype, device=rows.device)
    return torch.cat(parts)[torch.argsort(torch.cat(orders))]


def neighbors(first, last, size, shares):
    """Both neighbors of samples along one axis, and their weights.

    Args:
        first, last: Float32 tensors `(boxes,)`, borders of the boxes.
        size: Float32 tensor `(boxes,)`, pixels of the levels.
        shares: Float32 tensor `(samples,)` or `(boxes, samples)`, where the
            samples are, from 0 at the first border to 1.

    Returns:
        Two pairs of int32 indices and float32 weights, `(boxes, samples)`.
    """
    length = ops.maximum(last - first, 0.0)[:, None]
    size = size[:, None]
    place = first[:, None] + shares * length - 0.5
    inside = (place >= -1.0) & (place <= size)
    place = ops.clip(place, 0.0, size - 1)
    low = ops.floor(place)
    share = place - low
    high = ops.minimum(low + 1, size - 1)
    inside = ops.cast(inside, "float32")
    return (
        (ops.cast(low, "int32"), (1 - share) * inside),
        (ops.cast(high, "int32"), share * inside),
    )


def corner_pixels(places, rows, columns):
    """Yields the pixels around samples in the row of all, and their weights.

    Args:
        places: `Places`.
        rows, columns: What `neighbors` returned for the two axes.

    Yields:
        Four pairs of an int32 and a float32 tensor, `(boxes, rows, columns)`.
    """
    for y_index, y_weight in rows:
        for x_index, x_weight in columns:
            yield (
                places.first[:, None, None]
                + y_index[:, :, None] * places.width[:, None, None]
                + x_index[:, None, :],
                y_weight[:, :, None] * x_weight[:, None, :],
            )
