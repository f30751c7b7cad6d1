"""Double attention."""

import keras
from keras import ops

from keras_epsanet.attention.image_layer import ImageLayer
from keras_epsanet.integers import check_positive


@keras.saving.register_keras_serializable(package="keras_epsanet")
class DoubleAttention(ImageLayer):
    """Double attention: features are gathered, then handed out to pixels.

    With A, B and V three 1×1 convolutions of x to m, n and n channels,
    `G = A softmax_p(B)^T`, over the pixels p, gathers n descriptors of m
    numbers; every pixel takes a mixture of them, `Z = G softmax_n(V)`; and
    `y = x + W Z` with a 1×1 convolution W. All convolutions have a bias.

    In a ResNet it stands behind whole blocks: behind the second and the
    fourth of the second stage and behind every other one of the third. With
    `m = n = C / 2` it has `2 * C**2 + 2.5 * C` parameters,
    `2 * C**2 * H * W` multiply-adds and `C**2 / 2 * H * W` products of
    activations. Its authors published no code.

    Args:
        filters: Integer, the m of the paper. `None` is half of the channels.
        descriptors: Integer, the n of the paper. `None` is half of the
            channels.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        **kwargs: `kernel_initializer` (`None` is the one of
            `GroupedConv2D`), `kernel_regularizer` and `kernel_constraint` of
            the four kernels, and the arguments of `keras.layers.Layer`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        The same.

    Raises:
        ValueError: If `filters` or `descriptors` is not positive.

    Example:

    >>> x = keras.random.normal((2, 8, 8, 32))
    >>> DoubleAttention()(x).shape == x.shape
    True

    Reference: [A2-Nets](https://arxiv.org/abs/1810.11579), section 3.
    """

    def __init__(
        self, filters=None, descriptors=None, data_format=None, **kwargs
    ):
        super().__init__(data_format=data_format, **kwargs)
        if filters is not None:
            filters = check_positive(filters=filters)
        if descriptors is not None:
            descriptors = check_positive(descriptors=descriptors)
        self.filters = filters
        self.descriptors = descriptors

    def build(self, input_shape):
        channels = self.channels_of(input_shape)
        half = max(1, channels // 2)
        filters = self.filters or half
        names = ("feature_conv", "gather_conv", "distribute_conv")
        sizes = (filters, *(2 * [self.descriptors or half]))
        for part, (name, size) in enumerate(zip(names, sizes)):
            conv = self.make_pointwise(name, part, size, use_bias=True)
            conv.build(input_shape)
            setattr(self, name, conv)
        self.output_conv = self.make_pointwise(
            "output_conv", 3, channels, use_bias=True
        )
        self.output_conv.build(self.with_channels(input_shape, filters))

    def call(self, inputs):
        features, gather, distribute = (
            self.flatten(conv(inputs))
            for conv in (
                self.feature_conv,
                self.gather_conv,
                self.distribute_conv,
            )
        )
        pixels, channels = (1, 2) if self.is_last else (2, 1)
        gather = ops.softmax(gather, axis=pixels)
        distribute = _softmax(distribute, channels)
        # TensorFlow takes twice as long for the same as an `einsum`.
        if self.is_last:
            descriptors = ops.matmul(ops.swapaxes(gather, 1, 2), features)
            mixtures = ops.matmul(distribute, descriptors)
        else:
            descriptors = ops.matmul(features, ops.swapaxes(gather, 1, 2))
            mixtures = ops.matmul(descriptors, distribute)
        return inputs + self.output_conv(self.unflatten(mixtures, inputs))

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        channels = self.channels_of(input_shape)
        pixels = self.pixels_of(input_shape)
        m, n = self.feature_conv.filters, self.gather_conv.filters
        return {
            "macs": pixels * channels * (2 * m + 2 * n),
            "biases": pixels * (m + 2 * n + channels),
            "products": 2 * pixels * m * n,
        }

    def get_config(self):
        config = super().get_config()
        config.update(filters=self.filters, descriptors=self.descriptors)
        return config


def _softmax(logits, axis):
    """A softmax, which of a single number is 1; Keras warns of one."""
    if logits.shape[axis] == 1:
        return ops.ones_like(logits)
    return ops.softmax(logits, axis=axis)
