"""Slices of channels that see one another's convolutions."""

import collections
import math

import keras
from keras import ops

from keras_epsanet.attention.image_layer import ImageLayer
from keras_epsanet.integers import check_positive
from keras_epsanet.layers.batch_normalization import BatchNormalization
from keras_epsanet.layers.grouped_conv2d import GroupedConv2D


@keras.saving.register_keras_serializable(package="keras_epsanet")
class HierarchicalSplit(ImageLayer):
    """Slices of channels, one convolved after the other, of many scales.

    The channels are split into `scales` slices of equal width. All but one
    have a convolution `f = relu(BN(conv(.)))`, and what each but the first
    of them convolves is its slice with something of the one before:

    - `merge="add"`, Res2Net: `y_i = f_i(x_i + y_(i-1))`, and the last slice
      is left as it is.
    - `merge="concat"`, HS-ResNet: `z_i = f_i(concat(x_i, half of z_(i-1)))`,
      with as many channels as went in; the first slice is left as it is. A
      slice gives the first half of its z to the output, the last one all of
      it, and hands on the second half, which is the smaller one of an odd
      number.

    Res2Net does without the chain in the first block of a stage, which may
    have strides: `chained=False` convolves the slices for themselves, and the
    one that is left as it is becomes its average over 3 × 3 pixels, zeros
    around the image included.

    In a ResNet it takes the place of the 3×3 convolution, its BatchNorm and
    its ReLU; the published Res2Net-50 has 4 slices of 26, 52, 104 and 208
    channels in the four stages. With w for the width and S for `scales`,
    Res2Net's has `(S - 1) * (9 * w**2 + 2 * w)` parameters, those of the
    BatchNorms included, and `(S - 1) * 9 * w**2` multiply-adds for each
    pixel of the output.

    Args:
        scales: Integer, number of slices, two at least; it must divide the
            number of channels.
        merge: `"add"` or `"concat"`.
        kernel_size: Odd positive integer, in pixels.
        strides: Positive integer, in pixels.
        chained: Whether a slice sees the one before. `None` is yes without
            strides and no with them, which a chain cannot have.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        **kwargs: `kernel_initializer` (`None` is the one of
            `GroupedConv2D`), `kernel_regularizer` and `kernel_constraint` of
            each kernel, and the arguments of `keras.layers.Layer`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        `(N, ceil(H / strides), ceil(W / strides), C)`, channels-first
        `(N, C, ceil(H / strides), ceil(W / strides))`.

    Raises:
        ValueError: If `scales` is less than 2 or does not divide the number
            of channels, `merge` is another word, `kernel_size` is even, a
            number is not positive, or a chain has strides.

    Example:

    >>> x = keras.random.normal((2, 8, 8, 32))
    >>> HierarchicalSplit(scales=4)(x).shape == x.shape
    True

    Reference: [Res2Net](https://arxiv.org/abs/1904.01169), section 3, and
    [HS-ResNet](https://arxiv.org/abs/2010.07621), section 3.
    """

    def __init__(
        self,
        scales=4,
        merge="add",
        kernel_size=3,
        strides=1,
        chained=None,
        data_format=None,
        **kwargs,
    ):
        super().__init__(data_format=data_format, **kwargs)
        scales, kernel_size, strides = check_positive(
            scales=scales, kernel_size=kernel_size, strides=strides
        )
        if scales < 2:
            raise ValueError(
                f"`scales` must be at least 2. Received: scales={scales!r}"
            )
        if merge not in ("add", "concat"):
            raise ValueError(
                f"`merge` must be add or concat. Received: merge={merge!r}"
            )
        if chained and strides > 1:
            raise ValueError(
                "A chain cannot have strides: pool in front of it. "
                f"Received: chained={chained!r}, strides={strides!r}"
            )
        self.scales = scales
        self.merge = merge
        self.kernel_size = kernel_size
        self.strides = strides
        self.chained = chained

    @property
    def _is_chained(self):
        return self.strides == 1 if self.chained is None else self.chained

    def build(self, input_shape):
        channels = self.channels_of(input_shape)
        if channels % self.scales:
            raise ValueError(
                f"`scales` must divide the number of channels, {channels}. "
                f"Received: scales={self.scales!r}"
            )
        width = channels // self.scales
        self.convolutions, self.norms = [], []
        handed = 0
        for i in range(1, self.scales):
            filters = width + handed
            conv = self.make_sublayer(
                GroupedConv2D,
                f"conv_{i}",
                filters=filters,
                kernel_size=self.kernel_size,
                strides=self.strides,
                data_format=self.data_format,
                **self.kernel_arguments(i),
            )
            norm = self.make_sublayer(
                BatchNormalization, f"norm_{i}", axis=self.channel_axis
            )
            for layer in (conv, norm):
                layer.build(self.with_channels(input_shape, filters))
            self.convolutions.append(conv)
            self.norms.append(norm)
            if self.merge == "concat" and self._is_chained:
                handed = filters // 2

    def call(self, inputs, training=None):
        slices = ops.split(inputs, self.scales, axis=self.channel_axis)
        rest = slices.pop(-1 if self.merge == "add" else 0)
        if not self._is_chained:
            rest = self._average(rest)
        outputs, handed = [], None
        for i, (x, conv, norm) in enumerate(
            zip(slices, self.convolutions, self.norms)
        ):
            features = conv(self._merge(x, handed))
            features = ops.relu(norm(features, training=training))
            if self._is_chained and self.merge == "add":
                handed = features
            elif self._is_chained and i < self.scales - 2:
                kept = conv.filters - conv.filters // 2
                features, handed = ops.split(
                    features, [kept], axis=self.channel_axis
                )
            outputs.append(features)
        if self.merge == "add":
            outputs.append(rest)
        else:
            outputs.insert(0, rest)
        return ops.concatenate(outputs, axis=self.channel_axis)

    def _merge(self, x, handed):
        if handed is None:
            return x
        if self.merge == "add":
            return x + handed
        return ops.concatenate([x, handed], axis=self.channel_axis)

    def _average(self, inputs):
        padding = [(0, 0)] * 4
        for axis in self.pixel_axes:
            padding[axis] = (1, 1)
        return ops.average_pool(
            ops.pad(inputs, padding),
            (3, 3),
            strides=2 * (self.strides,),
            padding="valid",
            data_format=self.data_format,
        )

    def compute_output_shape(self, input_shape):
        shape = list(input_shape)
        for axis in self.pixel_axes:
            if shape[axis] is not None:
                shape[axis] = -(-shape[axis] // self.strides)
        return tuple(shape)

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        shape = self.compute_output_shape(input_shape)
        counts = collections.Counter()
        for conv in self.convolutions:
            elements = self.pixels_of(shape) * conv.filters
            macs = self.pixels_of(shape) * math.prod(conv.kernel.shape)
            counts.update(macs=macs, normalized=elements, relus=elements)
        if not self._is_chained:
            width = self.channels_of(input_shape) // self.scales
            counts["pooled"] = self.pixels_of(input_shape) * width
        return dict(counts)

    def get_config(self):
        config = super().get_config()
        config.update(
            scales=self.scales,
            merge=self.merge,
            kernel_size=self.kernel_size,
            strides=self.strides,
            chained=self.chained,
        )
        return config
