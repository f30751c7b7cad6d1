"""Pyramidal convolution."""

import collections

import keras
from keras import ops

from keras_epsanet.attention.image_layer import ImageLayer
from keras_epsanet.integers import (
    check_all_positive,
    check_positive,
    python_integers,
)
from keras_epsanet.layers.grouped_conv2d import GroupedConv2D


@keras.saving.register_keras_serializable(package="keras_epsanet")
class PyConv2D(ImageLayer):
    """Pyramidal convolution: grouped ones of several sizes, side by side.

    `y = concat(conv_1(x), ..., conv_S(x))`. `SPC` is the same for branches
    of equal width.

    In a ResNet it takes the place of the 3×3 convolutions: kernels 3, 5, 7
    and 9 with 1, 4, 8 and 16 groups in the first stage, 3, 5 and 7 with 1, 4
    and 8 groups and `filters` of w / 4, w / 4 and w / 2 in the second, 3 and
    5 with 1 and 4 groups in the third. From C channels it has
    `sum_i k_i**2 * C * F_i / g_i` parameters, and as many multiply-adds for
    each pixel of the output.

    Args:
        filters: Integers, number of output channels of each branch, or one
            integer, which is divided by the number of branches.
        kernel_sizes: Odd positive integers, one for each branch, in pixels.
        groups: Integers, one for each branch.
        strides: Positive integer or pair of them, in pixels.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        **kwargs: `kernel_initializer` (`None` is the one of
            `GroupedConv2D`), `kernel_regularizer` and `kernel_constraint` of
            each convolution, and the arguments of `keras.layers.Layer`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        `(N, ceil(H / strides), ceil(W / strides), sum(filters))`,
        channels-first
        `(N, sum(filters), ceil(H / strides), ceil(W / strides))`.

    Raises:
        ValueError: If `filters`, `kernel_sizes` and `groups` do not fit one
            another or the channels, or a kernel size is even.

    Example:

    >>> x = keras.random.normal((2, 8, 8, 32))
    >>> PyConv2D((16, 16, 32), (3, 5, 7), (1, 4, 8))(x).shape == (2, 8, 8, 64)
    True

    Reference: [Pyramidal Convolution](https://arxiv.org/abs/2006.11538),
    section 3.
    """

    def __init__(
        self,
        filters,
        kernel_sizes=(3, 5, 7, 9),
        groups=(1, 4, 8, 16),
        strides=1,
        data_format=None,
        **kwargs,
    ):
        super().__init__(data_format=data_format, **kwargs)
        self.kernel_sizes = check_all_positive("kernel_sizes", kernel_sizes)
        self.groups = check_all_positive("groups", groups)
        if isinstance(filters, (tuple, list)):
            self.filters = check_all_positive("filters", filters)
        else:
            self.filters = check_positive(filters=filters)
        self.strides = python_integers(strides)
        self.convolutions = [
            self.make_sublayer(
                GroupedConv2D,
                f"conv_{i}",
                filters=width,
                kernel_size=size,
                strides=strides,
                groups=branch_groups,
                data_format=self.data_format,
                **self.kernel_arguments(i),
            )
            for i, (width, size, branch_groups) in enumerate(
                zip(self._check_branches(), self.kernel_sizes, self.groups),
                start=1,
            )
        ]

    def _check_branches(self):
        """Returns the number of filters of each branch."""
        filters, branches = self.filters, len(self.kernel_sizes)
        if not isinstance(filters, (tuple, list)):
            if filters % branches:
                raise ValueError(
                    "The number of branches must divide `filters`. Received: "
                    f"filters={filters!r}, kernel_sizes={self.kernel_sizes!r}"
                )
            filters = branches * (filters // branches,)
        if not len(filters) == branches == len(self.groups):
            raise ValueError(
                "`filters`, `kernel_sizes` and `groups` must have one entry "
                f"for each branch. Received: filters={self.filters!r}, "
                f"kernel_sizes={self.kernel_sizes!r}, groups={self.groups!r}"
            )
        return filters

    def build(self, input_shape):
        channels = self.channels_of(input_shape)
        if any(channels % groups for groups in self.groups):
            raise ValueError(
                f"`groups` must divide the number of channels, {channels}. "
                f"Received: groups={self.groups!r}"
            )
        for convolution in self.convolutions:
            convolution.build(input_shape)

    def call(self, inputs):
        features = [convolution(inputs) for convolution in self.convolutions]
        return ops.concatenate(features, axis=self.channel_axis)

    def compute_output_shape(self, input_shape):
        shape = self.convolutions[0].compute_output_shape(input_shape)
        filters = sum(conv.filters for conv in self.convolutions)
        return self.with_channels(shape, filters)

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        counts = collections.Counter()
        for convolution in self.convolutions:
            counts.update(convolution.count_operations(input_shape))
        return dict(counts)

    def get_config(self):
        config = super().get_config()
        config.update(
            filters=self.filters,
            kernel_sizes=self.kernel_sizes,
            groups=self.groups,
            strides=self.strides,
        )
        return config
