"""Grouped convolution that computes tiles of neighboring pixels as channels.

Vectors of a CPU hold the channels of a group, and most of their lanes are
empty where a group has few output channels. A tile of `rows` × `columns`
output pixels becomes as many times more channels, by a kernel that holds the
original once for each pixel, at its place, between zeros.
"""

from keras import ops

from keras_epsanet.ops.forms import NO_TILES


class PixelTiles:
    """The tiles of one convolution, channels last.

    Args:
        kernel_shape: Shape of the kernel, `(height, width, C / groups,
            filters)`.
        strides: Pair of integers, in pixels.
        groups: Integer, number of groups.
        shape: Pair of integers, rows and columns of a tile.

    Attributes:
        shape: As given.
        strides: Pair of integers, strides of the convolution of tiles.
    """

    def __init__(self, kernel_shape, strides, groups, shape):
        self.kernel_shape = tuple(kernel_shape)
        self.groups = groups
        self.shape = tuple(shape)
        self.strides = tuple(s * tile for s, tile in zip(strides, shape))
        self._offsets = [
            (row * strides[0], column * strides[1])
            for row in range(shape[0])
            for column in range(shape[1])
        ]

    @property
    def expanded_sizes(self):
        """Pair of integers, height and width of the kernel of all pixels."""
        return tuple(
            size + offset
            for size, offset in zip(self.kernel_shape, self._offsets[-1])
        )

    def expand(self, kernel):
        """Returns the kernel of all pixels, `(height', width', …)`."""
        if self.shape == NO_TILES:
            return kernel
        kernel = ops.reshape(kernel, (*self.kernel_shape[:3], self.groups, -1))
        bottom, right = self._offsets[-1]
        copies = [
            ops.pad(kernel, [(y, bottom - y), (x, right - x)] + [(0, 0)] * 3)
            for y, x in self._offsets
        ]
        kernel = ops.stack(copies, axis=4)
        return ops.reshape(kernel, (*kernel.shape[:3], -1))

    def reduce(self, kernel):
        """The adjoint of `expand`."""
        if self.shape == NO_TILES:
            return kernel
        height, width = self.kernel_shape[:2]
        pixels = len(self._offsets)
        kernel = ops.reshape(
            kernel, (*kernel.shape[:3], self.groups, pixels, -1)
        )
        total = sum(
            kernel[y : y + height, x : x + width, :, :, pixel]
            for pixel, (y, x) in enumerate(self._offsets)
        )
        return ops.reshape(total, self.kernel_shape)

    def to_pixels(self, outputs):
        """Turns `(N, H, W, …)` into `(N, rows · H, columns · W, filters)`."""
        if self.shape == NO_TILES:
            return outputs
        # The batch is -1, so that an exported graph knows the other sizes.
        h, w = ops.shape(outputs)[1:3]
        rows, columns = self.shape
        outputs = ops.reshape(
            outputs, (-1, w, self.groups, rows, columns, self._depth)
        )
        outputs = ops.transpose(outputs, (0, 3, 1, 4, 2, 5))
        return ops.reshape(
            outputs, (-1, h * rows, w * columns, self.kernel_shape[-1])
        )

    def to_channels(self, outputs):
        """The adjoint of `to_pixels`."""
        if self.shape == NO_TILES:
            return outputs
        rows, columns = self.shape
        h, w = ops.shape(outputs)[1:3]
        h, w = h // rows, w // columns
        outputs = ops.reshape(
            outputs, (-1, rows, w, columns, self.groups, self._depth)
        )
        outputs = ops.transpose(outputs, (0, 2, 4, 1, 3, 5))
        return ops.reshape(
            outputs, (-1, h, w, rows * columns * self.kernel_shape[-1])
        )

    @property
    def _depth(self):
        return self.kernel_shape[-1] // self.groups
