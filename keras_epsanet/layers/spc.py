"""Split and concat: a pyramid of grouped convolutions."""

import collections
import math

import keras
from keras import ops

from keras_epsanet.integers import (
    check_all_positive,
    check_positive,
    is_positive,
    python_integers,
)
from keras_epsanet.layers.composite import CompositeLayer
from keras_epsanet.layers.grouped_conv2d import GroupedConv2D
from keras_epsanet.ops import layouts


@keras.saving.register_keras_serializable(package="keras_epsanet")
class SPC(CompositeLayer):
    """Multi-scale features from parallel convolutions (equations 3 to 5).

    Branch i is a grouped convolution with kernel `kernel_sizes[i]` to
    `filters / S` channels, S being the number of branches; the branches are
    concatenated in the order of `kernel_sizes`.

    Equation 4 of the paper convolves only the i-th part of the channels,
    the published implementation all of them. Only the latter has the
    published number of parameters, so it is the default here;
    `split_input=True` is the equation as printed.

    Args:
        filters: Integer, number of output channels, divisible by S.
        kernel_sizes: Odd positive integers, one for each branch, in pixels.
        groups: Integers, one for each branch. `None` means equation 3:
            `2 ** ((k - 1) / 2)` groups for a kernel of k pixels, but 1 for
            k = 3, as the paper uses it.
        strides: Positive integer or pair of them, in pixels.
        split_input: Whether branch i sees the i-th part of the input
            channels instead of all.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        layout: `"channels_last"` or `"channels_first"`, in which the
            convolutions are computed whatever the inputs have, which are
            transposed once, as the outputs are. `"auto"` is what
            `keras_epsanet.autotune` found faster on this GPU, otherwise as
            `None`. `None` leaves the inputs as they are.
        **kwargs: `kernel_initializer`, `kernel_regularizer` and
            `kernel_constraint` of each convolution, as in `GroupedConv2D`,
            and the arguments of `keras.layers.Layer`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        `(N, ceil(H / strides), ceil(W / strides), filters)`, channels-first
        `(N, filters, ceil(H / strides), ceil(W / strides))`.

    Raises:
        ValueError: If `filters` is not divisible by the number of branches,
            a kernel size is even or not positive, `groups` has another
            length than `kernel_sizes`, a number of groups does not divide
            the input or output channels of its branch, the input channels
            are unknown or, with `split_input=True`, not divisible by the
            number of branches, or `layout` is another word.

    Example:

    >>> features = SPC(64)(keras.ops.ones((1, 14, 14, 32)))
    >>> features.shape == (1, 14, 14, 64)
    True

    Reference: section 3.2 and equations 3 to 5 of
    [EPSANet](https://arxiv.org/abs/2105.14447).
    """

    def __init__(
        self,
        filters,
        kernel_sizes=(3, 5, 7, 9),
        groups=None,
        strides=1,
        split_input=False,
        data_format=None,
        layout=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.kernel_sizes, self.groups = check_pyramid(
            filters, kernel_sizes, groups
        )
        self.filters = int(filters)
        self.strides = python_integers(strides)
        self.split_input = split_input
        self.layout = layouts.check(layout)
        self.convolutions = [
            self.make_sublayer(
                GroupedConv2D,
                f"conv_{i}",
                filters=self.scale_filters,
                kernel_size=size,
                strides=self.strides,
                groups=branch_groups,
                data_format=data_format,
                **self.kernel_arguments(i),
            )
            for i, (size, branch_groups) in enumerate(
                zip(self.kernel_sizes, self.groups), start=1
            )
        ]
        self.data_format = self.convolutions[0].data_format
        self.input_spec = keras.layers.InputSpec(ndim=4)

    @property
    def scale_filters(self):
        """Number of output channels of one branch, C' = C / S."""
        return self.filters // len(self.kernel_sizes)

    @property
    def _channel_axis(self):
        return -1 if self.data_format == "channels_last" else 1

    def _branch_shape(self, input_shape):
        shape = list(input_shape)
        if self.split_input:
            scales = len(self.kernel_sizes)
            if shape[self._channel_axis] % scales:
                raise ValueError(
                    "With split_input=True the input channels must be "
                    f"divisible by the number of scales, {scales}. "
                    f"Received: input_shape={tuple(input_shape)}"
                )
            shape[self._channel_axis] //= scales
        return tuple(shape)

    def build(self, input_shape):
        if input_shape[self._channel_axis] is None:
            raise ValueError(
                "The number of input channels must be known. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        branch_shape = self._branch_shape(input_shape)
        channels = branch_shape[self._channel_axis]
        if any(channels % groups for groups in self.groups):
            common = math.gcd(channels, self.scale_filters)
            wanted = math.lcm(*self.groups)
            of_scale = ""
            if self.split_input:
                wanted *= len(self.kernel_sizes)
                of_scale = " of each scale"
            raise ValueError(
                f"`groups` of {self.path} must divide the {channels} input "
                f"channels{of_scale}. "
                f"groups={_fitting(self.groups, common)} would fit; or let a "
                f"1×1 convolution in front make {wanted} channels, or a "
                "multiple of it. "
                f"Received: groups={self.groups!r}, "
                f"input_shape={tuple(input_shape)}"
            )
        for convolution in self.convolutions:
            convolution.build(branch_shape)
        if self.layout is not None:
            axes = {self._channel_axis: input_shape[self._channel_axis]}
            self.input_spec = keras.layers.InputSpec(ndim=4, axes=axes)
            # Their channels may come on the other axis.
            for convolution in self.convolutions:
                convolution.input_spec = keras.layers.InputSpec(ndim=4)

    def call(self, inputs):
        layout = self.layout
        if layout == "auto":
            layout = layouts.find(self, inputs.shape)
        if layout is None:
            return self._convolve(inputs, self._channel_axis)
        axis = -1 if layout == "channels_last" else 1
        inputs = layouts.rearrange(inputs, self.data_format, layout)
        features = self._convolve(inputs, axis, layout=layout)
        return layouts.rearrange(features, layout, self.data_format)

    def _convolve(self, inputs, axis, **arguments):
        parts = [inputs] * len(self.kernel_sizes)
        if self.split_input:
            parts = ops.split(inputs, len(parts), axis=axis)
        # Equation 4, then equation 5.
        features = [
            convolution(part, **arguments)
            for convolution, part in zip(self.convolutions, parts)
        ]
        return ops.concatenate(features, axis=axis)

    def compute_output_shape(self, input_shape):
        branch_shape = self._branch_shape(input_shape)
        shape = list(self.convolutions[0].compute_output_shape(branch_shape))
        shape[self._channel_axis] = self.filters
        return tuple(shape)

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        counts = collections.Counter()
        for convolution in self.convolutions:
            counts.update(
                convolution.count_operations(self._branch_shape(input_shape))
            )
        return dict(counts)

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "filters": self.filters,
                "kernel_sizes": self.kernel_sizes,
                "groups": self.groups,
                "strides": self.strides,
                "split_input": self.split_input,
                "data_format": self.data_format,
            }
        )
        if self.layout is not None:
            config["layout"] = self.layout
        return config


def default_groups(kernel_size):
    """Number of groups for a kernel size (equation 3; 1 for a 3×3 kernel)."""
    return 1 if kernel_size == 3 else 2 ** ((kernel_size - 1) // 2)


def check_pyramid(filters, kernel_sizes, groups, reduction=1):
    """Checks the arguments that describe the scales of SPC and PSA.

    Args:
        filters: Integer, number of output channels of all scales.
        kernel_sizes: Kernel size of every scale.
        groups: Number of groups of every scale, or `None` for equation 3.
        reduction: Reduction of the `SEWeight` of one scale.

    Returns:
        Pair of tuples: `kernel_sizes` and `groups`.

    Raises:
        ValueError: If they do not fit one another. The message names
            `groups` and `reduction` that do.
    """
    kernel_sizes = check_all_positive("kernel_sizes", kernel_sizes)
    if any(size % 2 == 0 for size in kernel_sizes):
        raise ValueError(
            "`kernel_sizes` must be odd, so that half of a kernel can be "
            f"padded on every side. Received: kernel_sizes={kernel_sizes!r}"
        )
    if groups is None:
        groups = tuple(default_groups(size) for size in kernel_sizes)
    groups = check_all_positive("groups", groups)
    reduction = check_positive(reduction=reduction)
    scales = len(kernel_sizes)
    if len(groups) != scales:
        raise ValueError(
            "`groups` must have one entry for each of `kernel_sizes`. "
            f"Received: kernel_sizes={kernel_sizes!r}, groups={groups!r}"
        )
    if not is_positive(filters) or filters % scales:
        raise ValueError(
            "`filters` must be a positive integer divisible by the number "
            f"of scales, {scales}. Received: filters={filters!r}, "
            f"kernel_sizes={kernel_sizes!r}"
        )
    channels = int(filters) // scales
    if any(channels % g for g in groups) or reduction > channels:
        raise ValueError(
            f"filters={filters} leaves {channels} channels for each of "
            f"{scales} scales: `groups` must divide them and `reduction` "
            f"must not exceed them. groups={_fitting(groups, channels)} and "
            f"reduction={min(reduction, channels)} would fit. "
            f"Received: groups={groups}, reduction={reduction!r}"
        )
    return kernel_sizes, groups


def _fitting(groups, channels):
    return tuple(math.gcd(g, channels) for g in groups)
