"""Squeeze and excitation."""

import keras
from keras import ops

from keras_epsanet.attention.channel_mlp import ChannelMLP
from keras_epsanet.attention.image_layer import ImageLayer


@keras.saving.register_keras_serializable(package="keras_epsanet")
class SE(ImageLayer):
    """Squeeze and excitation: a weight for every channel from the means.

    `y = x * sigmoid(W2 relu(W1 mean(x)))`, with `mean` over the pixels and
    `C / reduction` numbers between the two dense stages. `SEWeight` is
    another form of it, whose result is the weights.

    In a ResNet it stands behind the last BatchNorm of every block, before
    the shortcut is added. It has `2 * C**2 / reduction` parameters and
    multiply-adds, and `C / reduction + C` parameters more with biases.

    Args:
        reduction: Integer, factor by which the first stage narrows the
            channels; at most the number of channels.
        use_bias: Whether both stages have a bias. The figures of the
            EPSANet paper are those without.
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
        ValueError: If `reduction` is not positive or larger than the number
            of channels.

    Example:

    >>> x = keras.random.normal((2, 8, 8, 32))
    >>> SE(reduction=4)(x).shape == x.shape
    True

    Reference: [Squeeze-and-Excitation
    Networks](https://arxiv.org/abs/1709.01507), section 3.
    """

    def __init__(
        self, reduction=16, use_bias=False, data_format=None, **kwargs
    ):
        super().__init__(data_format=data_format, **kwargs)
        self.mlp = self.make_sublayer(
            ChannelMLP,
            "mlp",
            reduction=reduction,
            use_bias=use_bias,
            **self.kernel_arguments(0),
        )
        self.reduction = self.mlp.reduction
        self.use_bias = use_bias

    def build(self, input_shape):
        self.mlp.build((None, self.channels_of(input_shape)))

    def call(self, inputs):
        weights = ops.sigmoid(self.mlp(self.mean(inputs)))
        return inputs * self.spread(weights)

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
            "pooled": self.pixels_of(input_shape) * channels,
        }

    def get_config(self):
        config = super().get_config()
        config.update(reduction=self.reduction, use_bias=self.use_bias)
        return config
