"""Anchor boxes of detectors with a feature pyramid."""

import math

import numpy as np
from keras import ops


class AnchorGenerator:
    """Boxes of fixed sizes and shapes at every pixel of every level.

    As in MMDetection: centred on `(x, y) * stride` without an offset, not
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

    def _level(self, stride, height, width):
        boxes = []
        for ratio in self.ratios:
            for scale in self.scales:
                h = stride * scale * math.sqrt(ratio) / 2
                w = stride * scale / math.sqrt(ratio) / 2
                boxes.append((-w, -h, w, h))
        boxes = ops.convert_to_tensor(np.array(boxes, "float32"))
        # Every level has the pixels that are left when all steps round up.
        y, x = (
            ops.cast(ops.arange((size + stride - 1) // stride), "float32")
            * stride
            for size in (height, width)
        )
        y, x = ops.meshgrid(y, x, indexing="ij")
        centres = ops.reshape(ops.stack((x, y, x, y), axis=-1), (-1, 1, 4))
        return ops.reshape(centres + boxes, (-1, 4))
