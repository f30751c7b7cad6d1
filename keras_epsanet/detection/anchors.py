"""Anchor boxes of detectors with a feature pyramid."""

import math

import numpy as np
from keras import ops

# To which MMDetection pads every image.
MULTIPLE = 32


class AnchorGenerator:
    """Boxes of fixed sizes and shapes at every pixel of every level.

    As in MMDetection: centered on `(x, y) * stride` without an offset, not
    rounded and not clipped.

    Args:
        strides: Integers, distance of the anchors of each level in pixels.
        scales: Floats, side of a square anchor in strides.
        ratios: Floats, height divided by width.

    Example:

    >>> generator = AnchorGenerator(strides=(4, 8), scales=(8,), ratios=(1,))
    >>> fine, coarse = generator(16, 16)
    >>> fine.shape == (16, 4), coarse.shape == (4, 4)
    (True, True)
    >>> [float(x) for x in fine[1]]
    [-12.0, -16.0, 20.0, 16.0]
    """

    def __init__(self, strides, scales, ratios):
        self.strides = tuple(strides)
        self.scales = tuple(scales)
        self.ratios = tuple(ratios)

    @property
    def num_anchors(self):
        """Integer, number of anchors at one pixel."""
        return len(self.scales) * len(self.ratios)

    def __call__(self, height, width):
        """Makes the anchors of an image.

        Args:
            height, width: Integers or scalar tensors, in pixels.

        Returns:
            List of a tensor for each level: float32 `(anchors, 4)`, x and y
            of the top left corner and of the bottom right one in pixels. The
            order is row, column, ratio, scale.
        """
        return [self._level(stride, height, width) for stride in self.strides]

    def are_inside(self, height, width, image_size):
        """Tells anchors of images from those of their padding.

        As in MMDetection, an image ends at the next multiple of 32.

        Args:
            height, width: As in `__call__`, of the padded images.
            image_size: Integer tensor `(N, 2)`, heights and widths of the
                images without their padding.

        Returns:
            Boolean tensor `(N, anchors)`, the anchors of all levels in a
            row: whether the image has the pixel that they are centered on.

        Example:

        >>> generator = AnchorGenerator(strides=(16,), scales=(8,), ratios=(1,))
        >>> inside = generator.are_inside(64, 64, ops.array([[20, 64]]))
        >>> int(ops.sum(ops.cast(inside, "int32")))
        8
        """
        image_size = ops.cast(image_size, "int32")
        ends = (image_size + MULTIPLE - 1) // MULTIPLE * MULTIPLE
        levels = []
        for stride in self.strides:
            y, x = (
                _places(stride, size) < ends[:, axis, None]
                for axis, size in enumerate((height, width))
            )
            inside = ops.reshape(
                y[:, :, None] & x[:, None], (ops.shape(ends)[0], -1)
            )
            levels.append(ops.repeat(inside, self.num_anchors, axis=1))
        return ops.concatenate(levels, axis=1)

    def _level(self, stride, height, width):
        boxes = []
        for ratio in self.ratios:
            for scale in self.scales:
                h = stride * scale * math.sqrt(ratio) / 2
                w = stride * scale / math.sqrt(ratio) / 2
                boxes.append((-w, -h, w, h))
        boxes = ops.convert_to_tensor(np.array(boxes, "float32"))
        y, x = (
            ops.cast(_places(stride, size), "float32")
            for size in (height, width)
        )
        y, x = ops.meshgrid(y, x, indexing="ij")
        centers = ops.reshape(ops.stack((x, y, x, y), axis=-1), (-1, 1, 4))
        return ops.reshape(centers + boxes, (-1, 4))


def _places(stride, size):
    # Every level has the pixels that are left when all steps round up.
    return ops.arange((size + stride - 1) // stride, dtype="int32") * stride
