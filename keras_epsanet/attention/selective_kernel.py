"""The selective kernel convolution."""

import collections
import math

import keras
from keras import ops

from keras_epsanet.attention.dense import make_dense
from keras_epsanet.attention.dilated_conv2d import DilatedConv2D
from keras_epsanet.attention.image_layer import ImageLayer
from keras_epsanet.integers import (
    check_all_positive,
    check_positive,
    python_integers,
)
from keras_epsanet.layers.batch_normalization import BatchNormalization


@keras.saving.register_keras_serializable(package="keras_epsanet")
class SelectiveKernel(ImageLayer):
    """Selective kernel: paths of several dilations compete for channels.

    Path i is `u_i = relu(BN(conv_i(x)))` with a grouped convolution of
    dilation i. `z = relu(BN(W mean(u_1 + ... + u_S)))`, with the mean over
    the pixels, has `max(filters / reduction, minimum)` numbers, and
    `y = sum_i a_i u_i` with `a = softmax_i(A_i z)`, channel by channel.
    There are no biases.

    In a ResNet it takes the place of the 3×3 convolution, its BatchNorm and
    its ReLU, in blocks that are twice as wide. From C to F channels, with d
    for the length of z and g for `groups`, it has
    `S * (9 * C * F / g + 2 * F) + (S + 1) * F * d + 2 * d` parameters, those
    of the BatchNorms included, and
    `S * 9 * C * F / g * H * W + (S + 1) * F * d` multiply-adds; those of the
    features with a are another `S * F * H * W`, products of activations.

    Args:
        filters: Integer, number of output channels, divisible by `groups`.
        kernel_size: Odd positive integer, in pixels.
        dilations: Positive integers, one for each path, two at least.
        groups: Integer that divides the input channels and `filters`.
        reduction: Integer, factor by which z is shorter than `filters`.
        minimum: Integer, least length of z.
        strides: Positive integer, in pixels.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        **kwargs: `kernel_initializer` (`None` is the one of
            `GroupedConv2D` for convolutions and PyTorch's uniform one for
            dense stages), `kernel_regularizer` and `kernel_constraint` of
            all kernels, and the arguments of `keras.layers.Layer`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        `(N, ceil(H / strides), ceil(W / strides), filters)`, channels-first
        `(N, filters, ceil(H / strides), ceil(W / strides))`.

    Raises:
        ValueError: If a number is not positive, `kernel_size` is even, there
            are less than two `dilations`, or `groups` does not divide.

    Example:

    >>> x = keras.random.normal((2, 8, 8, 32))
    >>> SelectiveKernel(64, groups=8)(x).shape == (2, 8, 8, 64)
    True

    Reference: [SKNet](https://arxiv.org/abs/1903.06586), section 3.
    """

    def __init__(
        self,
        filters,
        kernel_size=3,
        dilations=(1, 2),
        groups=32,
        reduction=16,
        minimum=32,
        strides=1,
        data_format=None,
        **kwargs,
    ):
        super().__init__(data_format=data_format, **kwargs)
        filters, groups = check_positive(filters=filters, groups=groups)
        self.reduction, self.minimum = check_positive(
            reduction=reduction, minimum=minimum
        )
        dilations = check_all_positive("dilations", dilations)
        if len(dilations) < 2:
            raise ValueError(
                "There must be two `dilations` at least. "
                f"Received: dilations={dilations!r}"
            )
        self.filters = filters
        self.kernel_size = python_integers(kernel_size)
        self.dilations = dilations
        self.groups = groups
        self.strides = python_integers(strides)
        self.convolutions = [
            self.make_sublayer(
                DilatedConv2D,
                f"conv_{i}",
                filters=filters,
                kernel_size=kernel_size,
                dilation=dilation,
                strides=strides,
                groups=groups,
                data_format=self.data_format,
                **self.kernel_arguments(i),
            )
            for i, dilation in enumerate(self.dilations, start=1)
        ]
        self.norms = [
            self.make_sublayer(
                BatchNormalization, f"norm_{i}", axis=self.channel_axis
            )
            for i, _ in enumerate(self.dilations, start=1)
        ]
        self.norm = self.make_sublayer(BatchNormalization, "norm")

    def build(self, input_shape):
        self.channels_of(input_shape)
        shape = self.compute_output_shape(input_shape)
        for conv, norm in zip(self.convolutions, self.norms):
            conv.build(input_shape)
            norm.build(shape)
        length = max(self.filters // self.reduction, self.minimum)
        paths = len(self.dilations)
        self.fc1 = make_dense(
            self, "fc1", 0, self.filters, length, use_bias=False
        )
        self.norm.build((None, length))
        self.fc2 = make_dense(
            self,
            "fc2",
            paths + 1,
            length,
            paths * self.filters,
            use_bias=False,
        )

    def call(self, inputs, training=None):
        features = [
            ops.relu(norm(conv(inputs), training=training))
            for conv, norm in zip(self.convolutions, self.norms)
        ]
        descriptors = self.fc1(self.mean(sum(features[1:], features[0])))
        descriptors = ops.relu(self.norm(descriptors, training=training))
        shares = self.compete(self.fc2(descriptors))
        weighed = [
            feature * self.spread(shares[:, i])
            for i, feature in enumerate(features)
        ]
        return sum(weighed[1:], weighed[0])

    def compete(self, logits):
        """The weights of all paths, `(N, paths, filters)`."""
        logits = ops.reshape(logits, (-1, len(self.dilations), self.filters))
        return ops.softmax(logits, axis=1)

    def compute_output_shape(self, input_shape):
        return self.convolutions[0].compute_output_shape(input_shape)

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        counts = collections.Counter()
        elements = math.prod(self.compute_output_shape(input_shape)[1:])
        for conv in self.convolutions:
            counts.update(conv.count_operations(input_shape))
        paths, length = len(self.dilations), self.fc1.units
        counts.update(
            macs=(1 + paths) * self.filters * length,
            normalized=paths * elements + length,
            relus=paths * elements + length,
            pooled=elements,
            products=paths * elements,
        )
        return dict(counts)

    def get_config(self):
        config = super().get_config()
        config.update(
            filters=self.filters,
            kernel_size=self.kernel_size,
            dilations=self.dilations,
            groups=self.groups,
            reduction=self.reduction,
            minimum=self.minimum,
            strides=self.strides,
        )
        return config
