"""Mask targets as MMDetection makes them, step by step on whole planes."""

import numpy as np

SIZE = 28


def resized_plane(mask, size, padded, flip):
    """A mask resized as OpenCV's `INTER_NEAREST` does, flipped, padded."""
    plane = np.zeros(padded)
    for y in range(size[0]):
        row = min(int(np.floor(y * mask.shape[0] / size[0])), len(mask) - 1)
        columns = np.floor(np.arange(size[1]) * mask.shape[1] / size[1])
        plane[y, : size[1]] = mask[row, columns.astype(int)]
    if flip:
        plane[:, : size[1]] = plane[:, : size[1]][:, ::-1].copy()
    return plane


def samples(first, last, limit):
    """Of an axis: their number in a bin, both neighbors, share, inside."""
    number = max(int(np.ceil((last - first) / SIZE)), 1)
    step = (last - first) / SIZE / number
    places = first - 0.5 + (np.arange(SIZE * number) + 0.5) * step
    inside = (places >= -1) & (places <= limit)
    places = np.clip(places, 0, limit - 1)
    low = np.floor(places).astype(int)
    return number, low, np.minimum(low + 1, limit - 1), places - low, inside


def align(plane, box):
    """ROIAlign of a plane, aligned, with a sample for every pixel."""
    x1, y1, x2, y2 = np.asarray(box, "float64")
    rows, top, bottom, down, in_rows = samples(y1, y2, plane.shape[0])
    columns, left, right, along, in_columns = samples(x1, x2, plane.shape[1])
    down = down[:, None]
    upper = plane[top][:, left] * (1 - along) + plane[top][:, right] * along
    lower = plane[bottom][:, left] * (1 - along)
    lower = lower + plane[bottom][:, right] * along
    values = (upper * (1 - down) + lower * down) * in_rows[:, None]
    values = values * in_columns
    return values.reshape(SIZE, rows, SIZE, columns).mean((1, 3))
