"""Efficient channel attention."""

import math

import keras
from keras import ops

from keras_epsanet.attention.dense import fan_in_uniform
from keras_epsanet.attention.image_layer import ImageLayer
from keras_epsanet.integers import check_positive


@keras.saving.register_keras_serializable(package="keras_epsanet")
class ECA(ImageLayer):
    """Efficient channel attention: neighboring channels weigh one another.

    `y = x * sigmoid(conv(mean(x)))`, with `mean` over the pixels and a
    convolution along the channels, padded with zeros, without a bias.

    In a ResNet it stands behind the last BatchNorm of every block, before
    the shortcut is added. It has `k` parameters and `k * C` multiply-adds
    for a kernel of `k` channels.

    Args:
        kernel_size: Odd positive integer, in channels. `None` is the
            paper's rule, the odd number next to `(log2(C) + 1) / 2`: 5, 5,
            5 and 7 in the stages of ResNet-50. The published weights of
            ResNet-50 have 3, 5, 5 and 7, those of ResNet-101 3, 3, 5 and 7.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        **kwargs: `kernel_initializer` (`None` is PyTorch's uniform one),
            `kernel_regularizer` and `kernel_constraint`, and the arguments
            of `keras.layers.Layer`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        The same.

    Raises:
        ValueError: If `kernel_size` is even or not positive.

    Example:

    >>> x = keras.random.normal((2, 8, 8, 32))
    >>> layer = ECA()
    >>> layer(x).shape == x.shape, layer.count_params()
    (True, 3)

    Reference: [ECA-Net](https://arxiv.org/abs/1910.03151), section 3.2.
    """

    def __init__(self, kernel_size=None, data_format=None, **kwargs):
        super().__init__(data_format=data_format, **kwargs)
        if kernel_size is not None:
            kernel_size = check_positive(kernel_size=kernel_size)
            if kernel_size % 2 == 0:
                raise ValueError(
                    "`kernel_size` must be odd, so that half of it can be "
                    "padded on both sides. "
                    f"Received: kernel_size={kernel_size!r}"
                )
        self.kernel_size = kernel_size

    def build(self, input_shape):
        channels = self.channels_of(input_shape)
        self.conv = self.make_sublayer(
            keras.layers.Conv1D,
            "conv",
            filters=1,
            kernel_size=self.kernel_size or _adaptive_size(channels),
            padding="same",
            use_bias=False,
            data_format="channels_last",
            **self.kernel_arguments(0, default=fan_in_uniform()),
        )
        self.conv.build((None, channels, 1))

    def call(self, inputs):
        logits = self.conv(self.mean(inputs)[:, :, None])
        return inputs * self.spread(ops.sigmoid(logits[:, :, 0]))

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        channels = self.channels_of(input_shape)
        return {
            "macs": self.conv.kernel_size[0] * channels,
            "pooled": self.pixels_of(input_shape) * channels,
        }

    def get_config(self):
        return {**super().get_config(), "kernel_size": self.kernel_size}


def _adaptive_size(channels):
    size = int((math.log2(channels) + 1) / 2)
    return size if size % 2 else size + 1
