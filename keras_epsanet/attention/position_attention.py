"""The position attention module of the dual attention network."""

import keras
from keras import ops

from keras_epsanet.attention.dense import fan_in_uniform
from keras_epsanet.attention.image_layer import (
    ImageLayer,
    narrowed,
)
from keras_epsanet.integers import check_positive


@keras.saving.register_keras_serializable(package="keras_epsanet")
class PositionAttention(ImageLayer):
    """Position attention of DANet: every pixel attends to all pixels.

    `y = x + gamma * V softmax(Q^T K)^T`, over the pixels of K, where Q and K
    are 1×1 convolutions of x to `C / 8` channels and V one to C. All have a
    bias; the products are not scaled. The number gamma starts at 0, so that
    the layer starts as the identity.

    It stands on the features of a segmentation network, beside
    `ChannelAttention`: the network adds what a 3×3 convolution makes of
    either. It has `1.25 * C**2 + 1.25 * C + 1` parameters,
    `1.25 * C**2 * H * W` multiply-adds and `1.125 * C * (H * W)**2` products
    of activations; its memory grows with the square of the pixels too.

    Args:
        reduction: Integer, factor by which the channels of Q and K are
            narrowed; at most the number of channels.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        **kwargs: `kernel_initializer` (`None` is a uniform distribution
            within one divided by the square root of C, which is PyTorch's),
            `kernel_regularizer` and `kernel_constraint` of the three
            kernels, and the arguments of `keras.layers.Layer`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        The same.

    Raises:
        ValueError: If `reduction` is not positive or larger than the number
            of channels.

    Example:

    >>> x = keras.random.normal((2, 8, 8, 32))
    >>> bool(keras.ops.all(PositionAttention()(x) == x))
    True

    Reference: [Dual Attention Network for Scene
    Segmentation](https://arxiv.org/abs/1809.02983), section 3.2.
    """

    def __init__(self, reduction=8, data_format=None, **kwargs):
        super().__init__(data_format=data_format, **kwargs)
        self.reduction = check_positive(reduction=reduction)

    def build(self, input_shape):
        channels = self.channels_of(input_shape)
        hidden = narrowed(channels, self.reduction)
        filters = {
            "query_conv": hidden,
            "key_conv": hidden,
            "value_conv": channels,
        }
        for part, (name, size) in enumerate(filters.items()):
            conv = self.make_pointwise(
                name,
                part,
                size,
                use_bias=True,
                kernel_initializer=fan_in_uniform(),
            )
            conv.build(input_shape)
            setattr(self, name, conv)
        self.gamma = self.add_weight((), "zeros", name="gamma")

    def call(self, inputs):
        queries, keys, values = (
            self.flatten(conv(inputs))
            for conv in (self.query_conv, self.key_conv, self.value_conv)
        )
        outputs = self.attend(queries, keys, values)
        gamma = ops.cast(self.gamma, inputs.dtype)
        return inputs + gamma * self.unflatten(outputs, inputs)

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        channels, hidden = self.channels_of(input_shape), self.key_conv.filters
        pixels = self.pixels_of(input_shape)
        return {
            "macs": pixels * channels * (2 * hidden + channels),
            "biases": pixels * (2 * hidden + channels),
            "products": pixels**2 * (hidden + channels),
        }

    def get_config(self):
        return {**super().get_config(), "reduction": self.reduction}
