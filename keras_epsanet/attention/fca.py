"""Frequency channel attention."""

import keras
import numpy as np
from keras import ops

from keras_epsanet.attention.channel_mlp import ChannelMLP
from keras_epsanet.attention.image_layer import (
    ImageLayer,
    check_divides,
)
from keras_epsanet.integers import check_positive, python_integers

# The sixteen best of the paper, for a grid of 7 × 7.
TOP_16 = (
    *((0, 0), (0, 1), (6, 0), (0, 5), (0, 2), (1, 0), (1, 2), (4, 0)),
    *((5, 0), (1, 6), (3, 0), (0, 4), (0, 6), (0, 3), (3, 5), (2, 2)),
)


@keras.saving.register_keras_serializable(package="keras_epsanet")
class FCA(ImageLayer):
    """Frequency channel attention: SE with frequencies in place of means.

    `y = x * sigmoid(W2 relu(W1 z))`, where `z_c = sum_hw x_c D_c` over the
    pixels is a component of the discrete cosine transform of channel c.
    Each of the frequencies serves `C / len(frequencies)` channels in a row;
    (0, 0) is `grid` times the mean.

    The frequencies belong to a grid. An image of another size is averaged
    to it, each number of the grid over the pixels that it covers. In place
    of the images, the cosines are resampled, which is the same sum.

    In a ResNet it stands behind the last BatchNorm of every block, before
    the shortcut is added, with a `grid` of 56, 28, 14 and 7 in the four
    stages. It has `2 * C**2 / reduction` parameters and multiply-adds, and
    `C * H * W` products of activations with cosines.

    Args:
        grid: Integer, at least 7, the height and width that the frequencies
            belong to.
        reduction: Integer, factor by which the first stage narrows the
            channels; at most the number of channels.
        frequencies: Pairs of integers from 0 to 6, vertical and horizontal
            frequencies for a grid of 7 × 7; they are multiplied by
            `grid // 7`. Their number must divide the number of channels.
            `None` means the sixteen best of the paper.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        **kwargs: `kernel_initializer` (`None` is PyTorch's uniform one),
            `kernel_regularizer` and `kernel_constraint` of both stages, and
            the arguments of `keras.layers.Layer`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        The same.

    Raises:
        ValueError: If `grid` is less than 7, a frequency is not between 0
            and 6, their number does not divide that of the channels, or
            `reduction` is not positive or larger than the latter.

    Example:

    >>> x = keras.random.normal((2, 8, 8, 32))
    >>> FCA(grid=7, reduction=4)(x).shape == x.shape
    True

    Reference: [FcaNet](https://arxiv.org/abs/2012.11879), section 3.
    """

    def __init__(
        self,
        grid=7,
        reduction=16,
        frequencies=None,
        data_format=None,
        **kwargs,
    ):
        super().__init__(data_format=data_format, **kwargs)
        grid = check_positive(grid=grid)
        if grid < 7:
            raise ValueError(
                f"`grid` must be at least 7. Received: grid={grid!r}"
            )
        if frequencies is not None and not (
            isinstance(frequencies, (tuple, list)) and _are_pairs(frequencies)
        ):
            raise ValueError(
                "`frequencies` must be pairs of integers from 0 to 6. "
                f"Received: frequencies={frequencies!r}"
            )
        self.grid = grid
        self.frequencies = frequencies and tuple(
            tuple(python_integers(pair)) for pair in frequencies
        )
        factor = grid // 7
        # One column of cosines for each frequency, in each direction.
        self._bases = [
            np.stack([_cosines(factor * u, grid) for u in direction], -1)
            for direction in zip(*(frequencies or TOP_16))
        ]
        self.mlp = self.make_sublayer(
            ChannelMLP,
            "mlp",
            reduction=reduction,
            **self.kernel_arguments(0),
        )
        self.reduction = self.mlp.reduction

    def build(self, input_shape):
        channels = self.channels_of(input_shape)
        check_divides("len(frequencies)", self._bases[0].shape[1], channels)
        self.mlp.build((None, channels))

    def call(self, inputs):
        # A sum over thousands of pixels takes more than 16 bits.
        is_wide = self.compute_dtype == "float64"
        dtype = "float64" if is_wide else "float32"
        mask = self._make_mask(ops.shape(inputs), dtype)
        components = ops.sum(
            ops.cast(inputs, dtype) * mask, axis=self.pixel_axes
        )
        logits = self.mlp(ops.cast(components, inputs.dtype))
        return inputs * self.spread(ops.sigmoid(logits))

    def cosine_mask(self):
        """Returns the cosines of the grid's pixels, an array `(C, grid, grid)`.

        They are those that the published code keeps beside its weights.
        """
        rows, columns = (basis.T for basis in self._bases)
        mask = rows[:, :, None] * columns[:, None, :]
        channels = self.mlp.fc2.units
        repeats = channels // len(mask)
        return np.repeat(mask, repeats, axis=0).astype("float32")

    def _make_mask(self, shape, dtype):
        """Returns the cosines of every pixel and channel, `(H, W, C)`."""
        rows, columns = (
            ops.matmul(
                ops.transpose(_averages(shape[axis], self.grid, dtype)),
                ops.cast(basis, dtype),
            )
            for axis, basis in zip(self.pixel_axes, self._bases)
        )
        repeats = shape[self.channel_axis] // rows.shape[1]
        rows, columns = (
            ops.repeat(x, repeats, axis=1) for x in (rows, columns)
        )
        if self.is_last:
            return rows[:, None, :] * columns[None, :, :]
        rows, columns = ops.transpose(rows), ops.transpose(columns)
        return rows[:, :, None] * columns[:, None, :]

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        channels = self.channels_of(input_shape)
        return {
            **self.mlp.count_operations((None, channels)),
            "products": self.pixels_of(input_shape) * channels,
        }

    def get_config(self):
        config = super().get_config()
        config.update(
            grid=self.grid,
            reduction=self.reduction,
            frequencies=self.frequencies,
        )
        return config


def _are_pairs(frequencies):
    return bool(frequencies) and all(
        isinstance(pair, (tuple, list))
        and len(pair) == 2
        and all(number in range(7) for number in pair)
        for pair in frequencies
    )


def _cosines(frequency, grid):
    values = np.cos(np.pi * frequency * (np.arange(grid) + 0.5) / grid)
    return values * ((2 if frequency else 1) / grid) ** 0.5


def _averages(size, grid, dtype):
    """Returns `(grid, size)`: what averages pixels to the grid."""
    number = ops.arange(grid)[:, None]
    start = number * size // grid
    end = -(-(number + 1) * size // grid)
    pixel = ops.arange(size)[None]
    is_covered = ops.logical_and(pixel >= start, pixel < end)
    return ops.cast(is_covered, dtype) / ops.cast(end - start, dtype)
