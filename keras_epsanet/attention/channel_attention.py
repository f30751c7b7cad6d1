"""The channel attention module of the dual attention network."""

import keras
from keras import ops

from keras_epsanet.attention.image_layer import ImageLayer


@keras.saving.register_keras_serializable(package="keras_epsanet")
class ChannelAttention(ImageLayer):
    """Channel attention of DANet: every channel attends to all channels.

    `y = x + gamma * softmax(-x x^T) x`, with x as a matrix of channels by
    pixels. The published code has the minus (it subtracts the products from
    their maximum), so a channel attends most to the one that is least like
    it. The number gamma, the only weight, starts at 0, so that the layer
    starts as the identity.

    It stands on the features of a segmentation network, beside
    `PositionAttention`. It has no multiply-adds of a convolution and
    `2 * C**2 * H * W` products of activations.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        The same.

    Example:

    >>> x = keras.random.normal((2, 8, 8, 32))
    >>> bool(keras.ops.all(ChannelAttention()(x) == x))
    True

    Reference: [Dual Attention Network for Scene
    Segmentation](https://arxiv.org/abs/1809.02983), section 3.3.
    """

    has_kernels = False

    def build(self, input_shape):
        self.channels_of(input_shape)
        self.gamma = self.add_weight((), "zeros", name="gamma")

    def call(self, inputs):
        features = self.flatten(inputs)
        # In 32 bits at least, for a float16 holds no sum over many pixels.
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        wide = ops.cast(features, dtype)
        turned = ops.swapaxes(wide, 1, 2)
        # Products of matrices: TensorFlow's `einsum` transposes first.
        pair = (turned, wide) if self.is_last else (wide, turned)
        attention = ops.cast(ops.softmax(-ops.matmul(*pair)), inputs.dtype)
        if self.is_last:
            outputs = ops.matmul(features, ops.swapaxes(attention, 1, 2))
        else:
            outputs = ops.matmul(attention, features)
        gamma = ops.cast(self.gamma, inputs.dtype)
        return inputs + gamma * self.unflatten(outputs, inputs)

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        channels = self.channels_of(input_shape)
        return {"products": 2 * channels**2 * self.pixels_of(input_shape)}
