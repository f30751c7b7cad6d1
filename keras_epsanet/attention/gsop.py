"""Global second-order pooling."""

import math

import keras
from keras import ops

from keras_epsanet.attention.dense import make_dense
from keras_epsanet.attention.image_layer import ImageLayer
from keras_epsanet.integers import check_positive
from keras_epsanet.layers.batch_normalization import BatchNormalization

# Numbers that each row of the covariance becomes.
_NUMBERS = 4


@keras.saving.register_keras_serializable(package="keras_epsanet")
class GSoP(ImageLayer):
    """Global second-order pooling: channels weighed by their covariance.

    With z = relu(BN(W₁ relu(x))), of `filters` channels d, and the
    covariance S of these over the pixels,
    `y = x * sigmoid(W₂ rows(BN(S)))`: `rows` makes four numbers of every row
    of S by kernels of its own, the BatchNorm normalizes over the entries of
    a row, and W₂ makes a weight for every channel of x from all 4d numbers.
    All kernels have a bias.

    In a ResNet it stands before the addition, on the residual; the published
    code moves W₁ by 2 pixels in the first stage. It has
    `5 * C * d + 4 * d**2 + C + 9 * d` parameters and `C * d * H * W +
    4 * d**2 + 4 * C * d` multiply-adds, and `d**2 * H * W` products of
    activations. This is the attention over channels, the default of the
    published networks; their attention over an 8×8 grid of positions, and
    the last layer that takes the root of a covariance, are not built.

    Args:
        filters: Integer, the channels d whose covariance is taken.
        strides: Integer, strides of W₁.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        **kwargs: `kernel_initializer` (`None` is He's normal distribution
            over the outputs, as in the published code), `kernel_regularizer`
            and `kernel_constraint` of the three kernels, and the arguments of
            `keras.layers.Layer`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        The same.

    Raises:
        ValueError: If `filters` or `strides` is not positive.

    Example:

    >>> x = keras.random.normal((2, 8, 8, 32))
    >>> GSoP(16)(x).shape == x.shape
    True

    Reference: [Global Second-order Pooling Convolutional
    Networks](https://arxiv.org/abs/1811.12006), section 3.1.
    """

    def __init__(self, filters=128, strides=1, data_format=None, **kwargs):
        super().__init__(data_format=data_format, **kwargs)
        filters, strides = check_positive(filters=filters, strides=strides)
        self.filters = filters
        self.strides = strides
        self.reduce_conv = self.make_pointwise(
            "reduce_conv",
            0,
            filters,
            strides=strides,
            use_bias=True,
            kernel_initializer=_he_normal(filters),
        )
        self.norm = self.make_sublayer(
            BatchNormalization, "norm", axis=self.channel_axis
        )
        self.norm_rows = self.make_sublayer(
            BatchNormalization, "norm_rows", axis=1
        )
        self.rows = self.make_sublayer(
            keras.layers.EinsumDense,
            "rows",
            equation="nij,ijk->nik",
            output_shape=(filters, _NUMBERS),
            bias_axes="ik",
            **self.kernel_arguments(1, _he_normal(_NUMBERS * filters**2)),
        )

    def build(self, input_shape):
        channels = self.channels_of(input_shape)
        self.reduce_conv.build(input_shape)
        self.norm.build(self.with_channels(input_shape, self.filters))
        covariance = (input_shape[0], self.filters, self.filters)
        self.norm_rows.build(covariance)
        self.rows.build(covariance)
        numbers = _NUMBERS * self.filters
        self.fc = make_dense(
            self,
            "fc",
            2,
            numbers,
            channels,
            kernel_initializer=_he_normal(channels),
            bias_initializer="zeros",
        )

    def call(self, inputs, training=None):
        features = self.reduce_conv(ops.relu(inputs))
        features = ops.relu(self.norm(features, training=training))
        rows = self.norm_rows(self._covariance(features), training=training)
        numbers = ops.reshape(self.rows(rows), (-1, _NUMBERS * self.filters))
        return inputs * self.spread(ops.sigmoid(self.fc(numbers)))

    def _covariance(self, features):
        """Returns the covariance of the channels, `(N, d, d)`."""
        shape = ops.shape(features)
        pixels = math.prod(shape[axis] for axis in self.pixel_axes)
        centered = features - self.spread(self.mean(features))
        # Divided first, for a float16 holds no sum over many pixels.
        centered = self.flatten(
            centered / ops.sqrt(ops.cast(pixels, features.dtype))
        )
        # A product of matrices: TensorFlow's `einsum` transposes first.
        turned = ops.swapaxes(centered, 1, 2)
        if self.is_last:
            return ops.matmul(turned, centered)
        return ops.matmul(centered, turned)

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        channels, filters = self.channels_of(input_shape), self.filters
        pixels = math.prod(
            -(-input_shape[axis] // self.strides) for axis in self.pixel_axes
        )
        numbers = _NUMBERS * filters
        return {
            "macs": channels * filters * pixels
            + numbers * filters
            + numbers * channels,
            "biases": filters * pixels + numbers + channels,
            "normalized": filters * pixels + filters**2,
            "relus": channels * self.pixels_of(input_shape) + filters * pixels,
            "products": filters**2 * pixels,
        }

    def get_config(self):
        config = super().get_config()
        config.update(filters=self.filters, strides=self.strides)
        return config


def _he_normal(fan_out):
    deviation = math.sqrt(2 / fan_out)
    return keras.initializers.RandomNormal(stddev=deviation)
