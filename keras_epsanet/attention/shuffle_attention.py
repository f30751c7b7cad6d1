"""Shuffle attention."""

import keras
from keras import ops

from keras_epsanet.attention.image_layer import (
    ImageLayer,
)
from keras_epsanet.integers import check_positive


@keras.saving.register_keras_serializable(package="keras_epsanet")
class ShuffleAttention(ImageLayer):
    """Shuffle attention: half of each group by channel, half by pixel.

    Each of the groups of channels is split into halves a and b of
    `q = C / (2 * groups)` channels:

    - `a * sigmoid(cw * mean(a) + cb)`, with `mean` over the pixels;
    - `b * sigmoid(sw * IN(b) + sb)`, with IN an instance normalization.

    The halves are concatenated again and the channels are shuffled between
    the two halves of all: channel `2 * j + i` is channel `i * C / 2 + j` of
    what went in. The six vectors of q numbers are shared by all groups. `cw`
    and `sw` start at 0, `cb` and `sb` at 1, so that all gates start at
    sigmoid(1), 0.731.

    In a ResNet it stands behind the last BatchNorm of every block, before
    the shortcut is added. It has `6 * q` parameters and no multiply-adds of
    a convolution; it normalizes and pools half of its input each.

    Args:
        groups: Integer; twice as many must divide the number of channels.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        The same.

    Raises:
        ValueError: If `groups` is not positive or does not fit the channels.

    Example:

    >>> y = ShuffleAttention(groups=8)(keras.ops.ones((2, 8, 8, 32)))
    >>> round(float(y[0, 0, 0, 0]), 3)
    0.731

    Reference: [SA-Net](https://arxiv.org/abs/2102.00240), section 3.
    """

    has_kernels = False

    def __init__(self, groups=64, data_format=None, **kwargs):
        super().__init__(data_format=data_format, **kwargs)
        self.groups = check_positive(groups=groups)

    def build(self, input_shape):
        channels = self.channels_of(input_shape)
        if channels % (2 * self.groups):
            raise ValueError(
                "Twice the `groups` must divide the number of channels, "
                f"{channels}. Received: groups={self.groups!r}"
            )
        for name, initializer in (
            ("channel_weight", "zeros"),
            ("channel_bias", "ones"),
            ("spatial_weight", "zeros"),
            ("spatial_bias", "ones"),
            ("gamma", "ones"),
            ("beta", "zeros"),
        ):
            weight = self.add_weight(
                name=name,
                shape=(channels // (2 * self.groups),),
                initializer=initializer,
            )
            setattr(self, name, weight)

    def call(self, inputs):
        # Both gates are `sigmoid(scale * (x - mean) + offset)`, with a scale
        # of 0 in the first half of each group: one pass over the input.
        mean = self.mean(inputs)
        inverse = ops.rsqrt(self.variance(inputs) + 1e-5)
        zeros = ops.zeros_like(ops.convert_to_tensor(self.gamma))
        scale = inverse * self._to_groups(
            zeros, self.spatial_weight * self.gamma
        )
        offset = mean * self._to_groups(self.channel_weight, zeros)
        offset = offset + self._to_groups(
            self.channel_bias,
            self.spatial_weight * self.beta + self.spatial_bias,
        )
        centered = inputs - self.spread(mean)
        gates = self.spread(scale) * centered + self.spread(offset)
        return self._shuffle(inputs * ops.sigmoid(gates))

    def _to_groups(self, first, second):
        """Returns C numbers from those of the halves of every group."""
        pair = [ops.convert_to_tensor(x) for x in (first, second)]
        return ops.tile(ops.concatenate(pair), self.groups)

    def _shuffle(self, inputs):
        shape = ops.shape(inputs)
        axis, channels = self.channel_axis, inputs.shape[self.channel_axis]
        halves = (*shape[:axis], 2, channels // 2, *shape[axis + 1 :])
        halves = ops.swapaxes(ops.reshape(inputs, halves), axis, axis + 1)
        return ops.reshape(
            halves, (*shape[:axis], channels, *shape[axis + 1 :])
        )

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        channels = self.channels_of(input_shape)
        half = self.pixels_of(input_shape) * channels // 2
        return {"normalized": half, "pooled": half}

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}
