"""The non-local block."""

import math

import keras
from keras import ops

from keras_epsanet.attention.image_layer import (
    ImageLayer,
    narrowed,
)
from keras_epsanet.integers import check_positive
from keras_epsanet.layers.batch_normalization import BatchNormalization


@keras.saving.register_keras_serializable(package="keras_epsanet")
class NonLocal(ImageLayer):
    """Non-local block: every pixel attends to all pixels.

    `y = x + BN(W P g)` with `P = softmax(theta^T phi / sqrt(m))` over the
    pixels of phi, where theta, phi and g are 1×1 convolutions of x to
    `m = C / reduction` channels and W is one back to C. All convolutions
    have a bias. The scale of the BatchNorm starts at 0, so that the layer
    starts as the identity.

    In a ResNet it stands behind whole blocks: one behind the last block but
    one of the third stage in the detectors of the paper, originally five
    behind every other block of the second and third stages, with a
    `pool_size` of 2. With a `reduction` of 2 it has
    `2 * C**2 + 2.5 * C + 2 * C` parameters, the last of its BatchNorm,
    `2 * C**2 * H * W` multiply-adds and `C * (H * W)**2` products of
    activations; its memory grows with the square of the pixels too.

    Args:
        reduction: Integer, factor by which the channels are narrowed; at
            most the number of channels.
        pool_size: Integer, side of the squares of pixels whose maxima are
            what is attended to. 1 leaves all pixels.
        use_norm: Whether there is a BatchNorm. Without one, W starts at 0.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        **kwargs: `kernel_initializer` (`None` is a normal distribution of
            deviation 0.01, as in the published code), `kernel_regularizer`
            and `kernel_constraint` of the four kernels, and the arguments of
            `keras.layers.Layer`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        The same.

    Raises:
        ValueError: If `reduction` is not positive or larger than the number
            of channels, or `pool_size` is not positive.

    Example:

    >>> x = keras.random.normal((2, 8, 8, 32))
    >>> y = NonLocal()(x)
    >>> bool(keras.ops.all(x == y))
    True

    Reference: [Non-local Neural
    Networks](https://arxiv.org/abs/1711.07971), section 3.
    """

    def __init__(
        self,
        reduction=2,
        pool_size=1,
        use_norm=True,
        data_format=None,
        **kwargs,
    ):
        super().__init__(data_format=data_format, **kwargs)
        self.reduction, self.pool_size = check_positive(
            reduction=reduction, pool_size=pool_size
        )
        self.use_norm = use_norm

    def build(self, input_shape):
        channels = self.channels_of(input_shape)
        hidden = narrowed(channels, self.reduction)
        for part, name in enumerate(("theta", "phi", "g")):
            conv = self.make_pointwise(
                name,
                part,
                hidden,
                use_bias=True,
                kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            )
            conv.build(input_shape)
            setattr(self, name, conv)
        self.output_conv = self.make_pointwise(
            "output_conv",
            3,
            channels,
            use_bias=True,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01)
            if self.use_norm
            else "zeros",
        )
        self.output_conv.build(self.with_channels(input_shape, hidden))
        if self.use_norm:
            self.norm = self.make_sublayer(
                BatchNormalization,
                "norm",
                axis=self.channel_axis,
                gamma_initializer="zeros",
            )
            self.norm.build(input_shape)

    def call(self, inputs, training=None):
        others = self._pool(inputs)
        queries = self.flatten(self.theta(inputs)) * self.theta.filters**-0.5
        keys, values = (
            self.flatten(conv(others)) for conv in (self.phi, self.g)
        )
        outputs = self.attend(queries, keys, values)
        outputs = self.output_conv(self.unflatten(outputs, inputs))
        if self.use_norm:
            outputs = self.norm(outputs, training=training)
        return inputs + outputs

    def _pool(self, inputs):
        if self.pool_size == 1:
            return inputs
        return ops.max_pool(
            inputs,
            2 * (self.pool_size,),
            strides=2 * (self.pool_size,),
            padding="same",  # No pixel is left out.
            data_format=self.data_format,
        )

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        channels, hidden = self.channels_of(input_shape), self.theta.filters
        pixels = self.pixels_of(input_shape)
        others = math.prod(
            -(-input_shape[axis] // self.pool_size) for axis in self.pixel_axes
        )
        return {
            "macs": 2 * channels * hidden * (pixels + others),
            "biases": hidden * (pixels + 2 * others) + channels * pixels,
            "normalized": pixels * channels if self.use_norm else 0,
            "pooled": pixels * channels if self.pool_size > 1 else 0,
            "products": 2 * pixels * others * hidden,
        }

    def get_config(self):
        config = super().get_config()
        config.update(
            reduction=self.reduction,
            pool_size=self.pool_size,
            use_norm=self.use_norm,
        )
        return config
