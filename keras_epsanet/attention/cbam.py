"""The convolutional block attention module."""

import keras
from keras import ops

from keras_epsanet.attention.channel_mlp import ChannelMLP
from keras_epsanet.attention.image_layer import ImageLayer
from keras_epsanet.attention.plane_gate import PlaneGate, max_and_mean
from keras_epsanet.ops.largest import largest_over


@keras.saving.register_keras_serializable(package="keras_epsanet")
class CBAM(ImageLayer):
    """Convolutional block attention: channels first, then pixels.

    `z = x * sigmoid(MLP(mean(x)) + MLP(max(x)))` with the mean and the
    maximum over the pixels and `MLP(s) = W2 relu(W1 s)`, one for both; then
    `y = z * sigmoid(BN(conv([max(z), mean(z)])))` with those over the
    channels. The scale of the BatchNorm starts at 0, and thus the second
    gate at 0.5.

    In a ResNet it stands behind the last BatchNorm of every block, before
    the shortcut is added. With r = `reduction` and k = `kernel_size` it has
    `2 * C**2 / r + C / r + C + 2 * k**2 + 2` parameters and
    `4 * C**2 / r + 2 * k**2 * H * W` multiply-adds.

    Args:
        reduction: Integer, factor by which the first dense stage narrows the
            channels; at most the number of channels.
        kernel_size: Odd positive integer, in pixels.
        use_bias: Whether the dense stages have a bias, as those of the
            published code.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        **kwargs: `kernel_initializer` (`None` is the one of the published
            code), `kernel_regularizer` and `kernel_constraint` of the three
            kernels, and the arguments of `keras.layers.Layer`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        The same.

    Raises:
        ValueError: If `reduction` is not positive or larger than the number
            of channels, or `kernel_size` is even or not positive.

    Example:

    >>> x = keras.random.normal((2, 8, 8, 32))
    >>> CBAM(reduction=4)(x).shape == x.shape
    True

    Reference: [CBAM](https://arxiv.org/abs/1807.06521), section 3.
    """

    def __init__(
        self,
        reduction=16,
        kernel_size=7,
        use_bias=True,
        data_format=None,
        **kwargs,
    ):
        super().__init__(data_format=data_format, **kwargs)
        self.mlp = self.make_sublayer(
            ChannelMLP,
            "mlp",
            reduction=reduction,
            use_bias=use_bias,
            zero_bias=True,
            **self.kernel_arguments(0),
        )
        self.gate = self.make_sublayer(
            PlaneGate,
            "gate",
            kernel_size=kernel_size,
            zero_gamma=True,
            **self.kernel_arguments(1),
        )
        self.reduction = self.mlp.reduction
        self.kernel_size = self.gate.kernel_size
        self.use_bias = use_bias

    def build(self, input_shape):
        self.mlp.build((None, self.channels_of(input_shape)))
        self.gate.build((None, None, None, 2))

    def call(self, inputs, training=None):
        maximum = largest_over(inputs, self.pixel_axes)
        logits = self.mlp(self.mean(inputs)) + self.mlp(maximum)
        outputs = inputs * self.spread(ops.sigmoid(logits))
        statistics = max_and_mean(outputs, self.channel_axis)
        gate = self.gate(statistics, training=training)
        return outputs * ops.expand_dims(gate, self.channel_axis)

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        channels = self.channels_of(input_shape)
        pixels = self.pixels_of(input_shape)
        dense = self.mlp.count_operations((None, channels))
        counts = {kind: 2 * number for kind, number in dense.items()}
        plane = self.gate.count_operations((None, pixels, 1, 2))
        counts["macs"] += plane["macs"]
        counts["normalized"] = plane["normalized"]
        counts["pooled"] = 2 * pixels * channels
        return counts

    def get_config(self):
        config = super().get_config()
        config.update(
            reduction=self.reduction,
            kernel_size=self.kernel_size,
            use_bias=self.use_bias,
        )
        return config
