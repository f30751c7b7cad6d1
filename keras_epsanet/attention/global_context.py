"""Global context."""

import keras
from keras import ops

from keras_epsanet.attention.dense import make_dense
from keras_epsanet.attention.image_layer import (
    ImageLayer,
    narrowed,
)
from keras_epsanet.integers import check_positive


@keras.saving.register_keras_serializable(package="keras_epsanet")
class GlobalContext(ImageLayer):
    """Global context: what an image shows as a whole is added everywhere.

    `y = x + W2 relu(LN(W1 c))` with the context `c = sum_p a_p x_p` over the
    pixels p, `a = softmax_p(w x_p + b)` and LN a layer normalization. `W2`
    and its bias start at 0, so that the layer starts as the identity.

    In a ResNet it stands behind the last BatchNorm of every block, before
    the shortcut is added. With r = `reduction` it has
    `2 * C**2 / r + 2 * C + 3 * C / r + 1` parameters and
    `C * H * W + 2 * C**2 / r` multiply-adds, and `C * H * W` products of
    activations.

    Args:
        reduction: Integer, factor by which the first stage narrows the
            channels; at most the number of channels.
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
            of channels.

    Example:

    >>> x = keras.random.normal((2, 8, 8, 32))
    >>> y = GlobalContext(reduction=4)(x)
    >>> bool(keras.ops.all(x == y))
    True

    Reference: [GCNet](https://arxiv.org/abs/1904.11492), section 3.4.
    """

    def __init__(self, reduction=16, data_format=None, **kwargs):
        super().__init__(data_format=data_format, **kwargs)
        self.reduction = check_positive(reduction=reduction)
        he_normal = keras.initializers.VarianceScaling(
            2.0, mode="fan_in", distribution="untruncated_normal"
        )
        self.mask_conv = self.make_pointwise(
            "mask_conv", 0, 1, use_bias=True, kernel_initializer=he_normal
        )
        self.norm = self.make_sublayer(
            keras.layers.LayerNormalization, "norm", epsilon=1e-5
        )

    def build(self, input_shape):
        channels = self.channels_of(input_shape)
        hidden = narrowed(channels, self.reduction)
        self.mask_conv.build(input_shape)
        self.fc1 = make_dense(self, "fc1", 1, channels, hidden)
        self.norm.build((None, hidden))
        self.fc2 = make_dense(
            self,
            "fc2",
            2,
            hidden,
            channels,
            kernel_initializer="zeros",
            bias_initializer="zeros",
        )

    def call(self, inputs):
        attention = self.compete(self.flatten(self.mask_conv(inputs)))
        equation = "npc,np->nc" if self.is_last else "ncp,np->nc"
        context = ops.einsum(equation, self.flatten(inputs), attention)
        context = self.fc2(ops.relu(self.norm(self.fc1(context))))
        return inputs + self.spread(context)

    def compete(self, logits):
        """The weights of all pixels, `(N, P)`."""
        channel = 2 if self.is_last else 1
        return ops.softmax(ops.squeeze(logits, channel), axis=-1)

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        channels = self.channels_of(input_shape)
        pixels, hidden = self.pixels_of(input_shape), self.fc1.units
        return {
            "macs": channels * pixels + 2 * channels * hidden,
            "biases": pixels + hidden + channels,
            "normalized": hidden,
            "relus": hidden,
            "products": channels * pixels,
        }

    def get_config(self):
        return {**super().get_config(), "reduction": self.reduction}
