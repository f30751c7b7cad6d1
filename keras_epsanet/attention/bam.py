"""The bottleneck attention module."""

import keras
from keras import ops

from keras_epsanet.attention.dense import make_dense
from keras_epsanet.attention.dilated_conv2d import DilatedConv2D
from keras_epsanet.attention.image_layer import (
    ImageLayer,
    narrowed,
)
from keras_epsanet.integers import check_positive
from keras_epsanet.layers.batch_normalization import BatchNormalization


@keras.saving.register_keras_serializable(package="keras_epsanet")
class BAM(ImageLayer):
    """Bottleneck attention: channels and pixels weigh an image together.

    `y = x * (1 + sigmoid(c(x) * s(x)))` with

    - `c = W2 relu(BN(W1 mean(x)))`, one number for each channel;
    - `s`, one number for each pixel: a 1×1 convolution to `C / reduction`
      channels, two dilated 3×3 convolutions, each of the three with a
      BatchNorm and a ReLU, and a 1×1 convolution to one channel.

    The two are multiplied, as in the published code. All convolutions and
    dense stages have a bias.

    In a ResNet it stands behind each of the first three stages. With
    `m = C / reduction` it has `3 * C * m + 18 * m**2 + 13 * m + C + 1`
    parameters and `2 * C * m + H * W * (C * m + 18 * m**2 + m)`
    multiply-adds.

    Args:
        reduction: Integer, factor by which both paths narrow the channels;
            at most the number of channels.
        dilation_rate: Positive integer, of the 3×3 convolutions.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        **kwargs: `kernel_initializer` (`None` is the one of the published
            code), `kernel_regularizer` and `kernel_constraint` of all
            kernels, and the arguments of `keras.layers.Layer`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        The same.

    Raises:
        ValueError: If `reduction` is not positive or larger than the number
            of channels, or `dilation_rate` is not positive.

    Example:

    >>> x = keras.random.normal((2, 8, 8, 32))
    >>> BAM(reduction=4)(x).shape == x.shape
    True

    Reference: [BAM](https://arxiv.org/abs/1807.06514), section 3.
    """

    def __init__(
        self, reduction=16, dilation_rate=4, data_format=None, **kwargs
    ):
        super().__init__(data_format=data_format, **kwargs)
        self.reduction, self.dilation_rate = check_positive(
            reduction=reduction, dilation_rate=dilation_rate
        )

    def build(self, input_shape):
        channels = self.channels_of(input_shape)
        hidden = narrowed(channels, self.reduction)
        zeros = {"bias_initializer": "zeros"}
        self.fc1 = make_dense(self, "fc1", 0, channels, hidden, **zeros)
        self.norm = self.make_sublayer(BatchNormalization, "norm")
        self.norm.build((None, hidden))
        self.fc2 = make_dense(self, "fc2", 1, hidden, channels, **zeros)
        self.reduce = self.make_pointwise("reduce", 2, hidden, use_bias=True)
        self.dilated = [
            self.make_sublayer(
                DilatedConv2D,
                f"dilated_{part}",
                filters=hidden,
                kernel_size=3,
                dilation=self.dilation_rate,
                use_bias=True,
                data_format=self.data_format,
                **self.kernel_arguments(2 + part),
            )
            for part in (1, 2)
        ]
        self.norms = [
            self.make_sublayer(
                BatchNormalization, f"norm_{i}", axis=self.channel_axis
            )
            for i in range(3)
        ]
        self.final = self.make_pointwise("final", 5, 1, use_bias=True)
        self.reduce.build(input_shape)
        shape = self.with_channels(input_shape, hidden)
        for layer in (*self.dilated, *self.norms, self.final):
            layer.build(shape)

    def call(self, inputs, training=None):
        channels = self.norm(self.fc1(self.mean(inputs)), training=training)
        channels = self.fc2(ops.relu(channels))
        pixels = inputs
        for conv, norm in zip((self.reduce, *self.dilated), self.norms):
            pixels = ops.relu(norm(conv(pixels), training=training))
        logits = self.spread(channels) * self.final(pixels)
        return inputs * (1 + ops.sigmoid(logits))

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        channels, hidden = self.channels_of(input_shape), self.fc1.units
        pixels = self.pixels_of(input_shape)
        kernels = channels * hidden + 18 * hidden**2 + hidden
        return {
            "macs": 2 * channels * hidden + pixels * kernels,
            "biases": hidden + channels + pixels * (3 * hidden + 1),
            "normalized": hidden + 3 * pixels * hidden,
            "relus": hidden + 3 * pixels * hidden,
            "pooled": pixels * channels,
        }

    def get_config(self):
        config = super().get_config()
        config.update(
            reduction=self.reduction, dilation_rate=self.dilation_rate
        )
        return config
