"""Split attention, the convolution of ResNeSt."""

import math

import keras
from keras import ops

from keras_epsanet.attention.image_layer import ImageLayer
from keras_epsanet.integers import check_positive, python_integers
from keras_epsanet.layers.batch_normalization import BatchNormalization
from keras_epsanet.layers.grouped_conv2d import GroupedConv2D


@keras.saving.register_keras_serializable(package="keras_epsanet")
class SplitAttention(ImageLayer):
    """Split attention: parts of a grouped convolution compete for channels.

    `u = relu(BN(conv(x)))` has `radix` parts of F = `filters` channels, from
    `radix * groups` groups. `z = relu(BN(V mean(u_1 + ... + u_R) + b))`, with
    the mean over the pixels, has `max(F * radix / reduction, 32)` numbers, and
    `y = sum_i a_i u_i` with `a = softmax_i(A_i z + c_i)`, channel by
    channel. With more than one of `groups`, V and A have as many groups.
    With a `radix` of 1, a sigmoid takes the place of the softmax.

    In a ResNet it takes the place of the 3×3 convolution, its BatchNorm and
    its ReLU; the published network has a stride as an average pooling behind
    it. From C to F channels, with R for `radix`, g for `groups` and d for the
    length of z, it has
    `9 * C * F / g + 2 * R * F + (R + 1) * F * d / g + 3 * d + R * F`
    parameters, those of the BatchNorms included, and
    `9 * C * F / g * H * W + (R + 1) * F * d / g` multiply-adds; those of the
    features with a are another `R * F * H * W`, products of activations.

    Args:
        filters: Integer, number of output channels.
        kernel_size: Odd positive integer, in pixels.
        radix: Integer, number of parts.
        groups: Integer, the cardinality; `radix * groups` must divide the
            input channels.
        reduction: Integer, factor by which z is shorter than all parts.
        strides: Positive integer, of the convolution, in pixels.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        **kwargs: `kernel_initializer` (`None` is the one of
            `GroupedConv2D`), `kernel_regularizer` and `kernel_constraint` of
            the three kernels, and the arguments of `keras.layers.Layer`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        `(N, ceil(H / strides), ceil(W / strides), filters)`, channels-first
        `(N, filters, ceil(H / strides), ceil(W / strides))`.

    Raises:
        ValueError: If a number is not positive, `kernel_size` is even, or
            the groups do not divide.

    Example:

    >>> x = keras.random.normal((2, 8, 8, 32))
    >>> SplitAttention(64)(x).shape == (2, 8, 8, 64)
    True

    Reference: [ResNeSt](https://arxiv.org/abs/2004.08955), section 3.
    """

    def __init__(
        self,
        filters,
        kernel_size=3,
        radix=2,
        groups=1,
        reduction=4,
        strides=1,
        data_format=None,
        **kwargs,
    ):
        super().__init__(data_format=data_format, **kwargs)
        filters, radix, groups, reduction = check_positive(
            filters=filters, radix=radix, groups=groups, reduction=reduction
        )
        length = max(filters * radix // reduction, 32)
        if filters % groups or length % groups:
            raise ValueError(
                f"`groups` must divide `filters` and {length}, the narrow "
                f"middle. Received: groups={groups!r}, filters={filters!r}"
            )
        self.filters = filters
        self.kernel_size = python_integers(kernel_size)
        self.radix = radix
        self.groups = groups
        self.reduction = reduction
        self.strides = python_integers(strides)
        self.conv = self.make_sublayer(
            GroupedConv2D,
            "conv",
            filters=radix * filters,
            kernel_size=kernel_size,
            strides=strides,
            groups=radix * groups,
            data_format=self.data_format,
            **self.kernel_arguments(0),
        )
        self.norm = self.make_sublayer(
            BatchNormalization, "norm", axis=self.channel_axis
        )
        self.fc1 = self._make_stage(1, filters, length)
        self.norm_fc1 = self.make_sublayer(BatchNormalization, "norm_fc1")
        self.fc2 = self._make_stage(2, length, radix * filters)

    def _make_stage(self, number, inputs, units):
        bound = (inputs // self.groups) ** -0.5
        return self.make_sublayer(
            GroupedConv2D,
            f"fc{number}",
            filters=units,
            kernel_size=1,
            groups=self.groups,
            use_bias=True,
            bias_initializer=keras.initializers.RandomUniform(-bound, bound),
            data_format="channels_last",
            **self.kernel_arguments(number),
        )

    def build(self, input_shape):
        channels, groups = self.channels_of(input_shape), self.conv.groups
        if channels % groups:
            raise ValueError(
                "`radix * groups` must divide the number of channels, "
                f"{channels}. Received: radix={self.radix!r}, "
                f"groups={self.groups!r}"
            )
        self.conv.build(input_shape)
        self.norm.build(self.conv.compute_output_shape(input_shape))
        self.fc1.build((None, 1, 1, self.filters))
        for layer in (self.norm_fc1, self.fc2):
            layer.build((None, 1, 1, self.fc1.filters))

    def call(self, inputs, training=None):
        features = ops.relu(self.norm(self.conv(inputs), training=training))
        parts = ops.split(features, self.radix, axis=self.channel_axis)
        means = self.mean(sum(parts[1:], parts[0]))[:, None, None, :]
        descriptors = self.norm_fc1(self.fc1(means), training=training)
        shares = self.compete(self.fc2(ops.relu(descriptors)))
        weighed = [
            part * self.spread(shares[:, i]) for i, part in enumerate(parts)
        ]
        return sum(weighed[1:], weighed[0])

    def compete(self, logits):
        """The weights of all parts, `(N, radix, filters)`."""
        # Each group has the numbers of all parts side by side.
        width = self.filters // self.groups
        logits = ops.reshape(logits, (-1, self.groups, self.radix, width))
        if self.radix > 1:
            shares = ops.softmax(logits, axis=2)
        else:
            shares = ops.sigmoid(logits)
        shares = ops.transpose(shares, (0, 2, 1, 3))
        return ops.reshape(shares, (-1, self.radix, self.filters))

    def compute_output_shape(self, input_shape):
        shape = self.conv.compute_output_shape(input_shape)
        return self.with_channels(shape, self.filters)

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        elements = math.prod(self.compute_output_shape(input_shape)[1:])
        length, all_parts = self.fc1.filters, self.radix * elements
        dense = (1 + self.radix) * self.filters * length // self.groups
        conv = self.conv.count_operations(input_shape)
        return {
            "macs": conv["macs"] + dense,
            "biases": length + self.radix * self.filters,
            "normalized": all_parts + length,
            "relus": all_parts + length,
            "pooled": elements,
            "products": all_parts,
        }

    def get_config(self):
        config = super().get_config()
        config.update(
            filters=self.filters,
            kernel_size=self.kernel_size,
            radix=self.radix,
            groups=self.groups,
            reduction=self.reduction,
            strides=self.strides,
        )
        return config
