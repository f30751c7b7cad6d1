"""Attention-augmented convolution."""

import math

import keras
from keras import ops

from keras_epsanet.attention.image_layer import ImageLayer
from keras_epsanet.integers import check_positive, python_integers
from keras_epsanet.layers.grouped_conv2d import GroupedConv2D


@keras.saving.register_keras_serializable(package="keras_epsanet")
class AttentionAugmentedConv2D(ImageLayer):
    """Attention-augmented convolution: some filters are heads of attention.

    `y = concat(conv(x), W MHA(x))`: a convolution to
    `filters - value_filters` channels, and a 1×1 convolution of what heads
    of attention over all pixels give. Queries and keys have `key_filters`
    channels, the values `value_filters`, all from one 1×1 convolution of x.
    With queries scaled by the root of their length, the logit of the pixel
    at (i, j) for the one at (k, l) is
    `q · k + q · R_vertical[k - i] + q · R_horizontal[l - j]`, with tables R
    that the heads share. There are no biases.

    In a ResNet it takes the place of the 3×3 convolutions of the last three
    stages, there with `key_filters=160` and 8, 24 and 48 `value_filters`. To
    F filters from as many channels, with `dk` and `dv` for the filters, k
    for the kernel and P for the pixels of the output, it has
    `k**2 * F * (F - dv) + F * (2 * dk + dv) + dv**2` parameters, as many
    multiply-adds for each pixel of the output, and `(2 * H + 2 * W - 2) *
    dk / num_heads` parameters in the tables;
    `P**2 * (dk + dv) + P * (2 * H + 2 * W - 2) * dk` products of
    activations. Its memory grows with the square of the pixels too.

    The tables belong to the height and width that the layer is built for.
    For images of another size they are resampled linearly, so that the
    largest distances stay the largest.

    Args:
        filters: Integer, number of output channels.
        key_filters: Integer, number of channels of queries and of keys.
        value_filters: Integer, number of channels of the values; less than
            `filters`.
        kernel_size: Odd positive integer, in pixels.
        num_heads: Integer that divides `key_filters` and `value_filters`.
        strides: Positive integer, in pixels.
        table_size: Pair of integers, height and width of the output for
            which the tables are made. `None` is those of the shape that the
            layer is built with, which must be known then; 0 is no tables, and
            no regard to where a pixel is.
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
        ValueError: If a number is not positive, `kernel_size` is even,
            `num_heads` does not divide, `value_filters` leaves no
            convolution, or a size for the tables is not known.

    Example:

    >>> x = keras.random.normal((2, 8, 8, 32))
    >>> layer = AttentionAugmentedConv2D(64, 16, 8, num_heads=4)
    >>> layer(x).shape == (2, 8, 8, 64)
    True

    Reference: [Attention Augmented Convolutional
    Networks](https://arxiv.org/abs/1904.09925), section 3.
    """

    def __init__(
        self,
        filters,
        key_filters,
        value_filters,
        kernel_size=3,
        num_heads=8,
        strides=1,
        table_size=None,
        data_format=None,
        **kwargs,
    ):
        super().__init__(data_format=data_format, **kwargs)
        filters, num_heads, strides = check_positive(
            filters=filters, num_heads=num_heads, strides=strides
        )
        sizes = dict(key_filters=key_filters, value_filters=value_filters)
        key_filters, value_filters = check_positive(**sizes)
        for name, value in sizes.items():
            if value % num_heads:
                raise ValueError(
                    f"`num_heads` must divide `{name}`. "
                    f"Received: {name}={value!r}, num_heads={num_heads!r}"
                )
        if value_filters >= filters:
            raise ValueError(
                "`value_filters` must be less than `filters`. Received: "
                f"value_filters={value_filters!r}, filters={filters!r}"
            )
        if table_size:
            table_size = tuple(
                check_positive(table_size=size) for size in table_size
            )
        self.filters = filters
        self.key_filters = key_filters
        self.value_filters = value_filters
        self.kernel_size = python_integers(kernel_size)
        self.num_heads = num_heads
        self.strides = strides
        self.table_size = table_size
        self.conv = self.make_sublayer(
            GroupedConv2D,
            "conv",
            filters=filters - value_filters,
            kernel_size=kernel_size,
            strides=strides,
            data_format=self.data_format,
            **self.kernel_arguments(0),
        )
        self.qkv_conv = self.make_pointwise(
            "qkv_conv", 1, 2 * key_filters + value_filters, strides=strides
        )
        self.output_conv = self.make_pointwise("output_conv", 2, value_filters)

    def build(self, input_shape):
        self.channels_of(input_shape)
        self.conv.build(input_shape)
        self.qkv_conv.build(input_shape)
        shape = self.compute_output_shape(input_shape)
        self.output_conv.build(self.with_channels(shape, self.value_filters))
        if self.table_size == 0:
            return
        sizes = self.table_size or tuple(shape[x] for x in self.pixel_axes)
        if None in sizes:
            raise ValueError(
                "The tables need a height and width: give them as "
                "`table_size`, or images of a known size. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        length = self.key_filters // self.num_heads
        self.row_table, self.column_table = (
            self.add_weight(
                name=f"{name}_table",
                shape=(2 * size - 1, length),
                initializer=keras.initializers.RandomNormal(
                    stddev=length**-0.5
                ),
            )
            for name, size in zip(("row", "column"), sizes)
        )

    def call(self, inputs):
        features = self.conv(inputs)
        outputs = self.qkv_conv(inputs)
        if not self.is_last:
            outputs = ops.transpose(outputs, (0, 2, 3, 1))
        outputs = self._attend(outputs)
        if not self.is_last:
            outputs = ops.transpose(outputs, (0, 3, 1, 2))
        outputs = self.output_conv(outputs)
        return ops.concatenate([features, outputs], axis=self.channel_axis)

    def _attend(self, qkv):
        """Returns `(N, H, W, value_filters)` for channels-last images."""
        batch, height, width, _ = ops.shape(qkv)
        starts = (self.key_filters, 2 * self.key_filters)
        pixels = (batch, height, width, self.num_heads)
        queries, keys, values = (
            ops.reshape(part, (*pixels, part.shape[-1] // self.num_heads))
            for part in ops.split(qkv, starts, axis=-1)
        )
        queries = queries * (self.key_filters // self.num_heads) ** -0.5
        # The pixel (y, x) asks, (i, j) answers; a is the head.
        logits = ops.einsum("nyxad,nijad->nayxij", queries, keys)
        if self.table_size != 0:
            rows = _relative(self.row_table, height)
            columns = _relative(self.column_table, width)
            rows = ops.einsum("nyxad,yid->nayxi", queries, rows)
            columns = ops.einsum("nyxad,xjd->nayxj", queries, columns)
            logits = logits + rows[..., None] + columns[..., None, :]
        logits = ops.reshape(
            logits, (batch, self.num_heads, height, width, height * width)
        )
        attention = ops.softmax(logits, axis=-1)
        values = ops.reshape(
            values, (batch, height * width, self.num_heads, values.shape[-1])
        )
        outputs = ops.einsum("nayxp,npad->nyxad", attention, values)
        return ops.reshape(outputs, (batch, height, width, self.value_filters))

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
        shape = self.compute_output_shape(input_shape)
        height, width = (shape[axis] for axis in self.pixel_axes)
        pixels = height * width
        kernels = (self.conv, self.qkv_conv, self.output_conv)
        kernels = sum(math.prod(conv.kernel.shape) for conv in kernels)
        products = pixels**2 * (self.key_filters + self.value_filters)
        if self.table_size != 0:
            entries = 2 * height + 2 * width - 2
            products += pixels * entries * self.key_filters
        return {"macs": pixels * kernels, "products": products}

    def get_config(self):
        config = super().get_config()
        config.update(
            filters=self.filters,
            key_filters=self.key_filters,
            value_filters=self.value_filters,
            kernel_size=self.kernel_size,
            num_heads=self.num_heads,
            strides=self.strides,
            table_size=self.table_size,
        )
        return config


def _relative(table, size):
    """Returns `(size, size, d)`: what a table has for each query and key."""
    table = _resample(ops.convert_to_tensor(table), size)
    position = ops.arange(size)
    distance = position[None, :] - position[:, None]
    return ops.take(table, distance + size - 1, axis=0)


def _resample(table, size):
    """Stretches a table to the distances of another size, linearly."""
    reach = (table.shape[0] - 1) // 2
    if isinstance(size, int) and size == reach + 1:
        return table
    distance = ops.cast(ops.arange(2 * size - 1) - (size - 1), table.dtype)
    scale = reach / ops.cast(ops.maximum(size - 1, 1), table.dtype)
    place = distance[:, None] * scale + reach
    entry = ops.cast(ops.arange(table.shape[0]), table.dtype)[None, :]
    shares = ops.maximum(1 - ops.abs(place - entry), 0)
    return ops.matmul(shares, table)
