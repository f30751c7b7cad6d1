"""What the layers of attention have in common."""

import math

import keras
from keras import ops

from keras_epsanet.layers.composite import CompositeLayer
from keras_epsanet.layers.grouped_conv2d import GroupedConv2D


class ImageLayer(CompositeLayer):
    """Layer that takes images, and returns as many unless it says otherwise.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        **kwargs: Arguments of `CompositeLayer`; a layer without kernels
            takes none that concern them.

    Raises:
        ValueError: If `data_format` is another one, or a layer without
            kernels is given an argument of theirs.
    """

    has_kernels = True

    def __init__(self, data_format=None, **kwargs):
        super().__init__(**kwargs)
        for part in ("initializer", "regularizer", "constraint"):
            name = f"kernel_{part}"
            if not self.has_kernels and kwargs.get(name) is not None:
                raise ValueError(
                    f"{self.__class__.__name__} has no kernel. "
                    f"Received: {name}={kwargs[name]!r}"
                )
        self.data_format = data_format or keras.config.image_data_format()
        if self.data_format not in ("channels_last", "channels_first"):
            raise ValueError(
                "`data_format` must be channels_last or channels_first. "
                f"Received: data_format={data_format!r}"
            )
        self.input_spec = keras.layers.InputSpec(ndim=4)

    @property
    def is_last(self):
        """Whether the channels are the last axis."""
        return self.data_format == "channels_last"

    @property
    def channel_axis(self):
        """Integer, the axis of the channels."""
        return 3 if self.is_last else 1

    @property
    def pixel_axes(self):
        """Pair of integers, the axes of height and width."""
        return (1, 2) if self.is_last else (2, 3)

    def channels_of(self, input_shape):
        """Returns the number of channels.

        Args:
            input_shape: Shape of the input.

        Raises:
            ValueError: If it is not known.
        """
        channels = input_shape[self.channel_axis]
        if channels is None:
            raise ValueError(
                "The number of channels must be known. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        return channels

    def pixels_of(self, input_shape):
        """Returns the number of pixels, of which both sizes are known."""
        return math.prod(input_shape[axis] for axis in self.pixel_axes)

    def make_pointwise(self, name, part, filters, **arguments):
        """Returns a 1×1 convolution, for an attribute of the layer.

        Args:
            name: String, its name.
            part: Integer, different for every kernel of the layer.
            filters: Integer, number of output channels.
            **arguments: Other arguments of `GroupedConv2D`, with
                `kernel_initializer` for the case that the layer has none.
        """
        default = arguments.pop("kernel_initializer", None)
        return self.make_sublayer(
            GroupedConv2D,
            name,
            filters=filters,
            kernel_size=1,
            data_format=self.data_format,
            **self.kernel_arguments(part, default=default),
            **arguments,
        )

    def mean(self, inputs):
        """Returns the mean of every channel, `(N, C)`."""
        return ops.mean(inputs, axis=self.pixel_axes)

    def variance(self, inputs):
        """Returns the variance of every channel, `(N, C)`."""
        return ops.var(inputs, axis=self.pixel_axes)

    def unbiased_variance(self, inputs):
        """Returns the variance of every channel, `(N, C)`.

        The sum of squares is divided by the number of pixels less 1; that of
        a single pixel is 0.
        """
        return self.unbiased(self.variance(inputs), inputs)

    def unbiased(self, variance, inputs):
        """Returns the unbiased variance, `(N, C)`, of the biased one.

        Args:
            variance: Tensor `(N, C)`, mean of the squares.
            inputs: Images that it is of.
        """
        height, width = (ops.shape(inputs)[axis] for axis in self.pixel_axes)
        pixels = height * width
        if isinstance(pixels, int):
            return variance * (pixels / max(pixels - 1, 1))
        # Other types hold no number of so many pixels.
        pixels = ops.cast(pixels, "float64")
        factor = pixels / ops.maximum(pixels - 1, 1)
        return variance * ops.cast(factor, variance.dtype)

    def spread(self, values):
        """Returns `(N, C)` as what multiplies every pixel of an image."""
        if self.is_last:
            return values[:, None, None, :]
        return values[:, :, None, None]

    def flatten(self, inputs):
        """Returns `(N, P, C)`, channels-first `(N, C, P)`, of P pixels."""
        shape = ops.shape(inputs)
        channels = inputs.shape[self.channel_axis]
        if self.is_last:
            return ops.reshape(inputs, (shape[0], -1, channels))
        return ops.reshape(inputs, (shape[0], channels, -1))

    def attend(self, queries, keys, values):
        """Returns for every pixel a weighted mean of the values of all.

        The weights are a softmax of the products of its query with all keys.

        Args:
            queries, keys, values: Tensors as `flatten` returns them, the
                first two of equally many channels, the last two of equally
                many pixels.
        """
        # Products of matrices: TensorFlow's `einsum` transposes first.
        if self.is_last:
            logits = ops.matmul(queries, ops.swapaxes(keys, 1, 2))
            return ops.matmul(ops.softmax(logits, axis=-1), values)
        logits = ops.matmul(ops.swapaxes(queries, 1, 2), keys)
        attention = ops.softmax(logits, axis=-1)
        return ops.matmul(values, ops.swapaxes(attention, 1, 2))

    def unflatten(self, values, inputs):
        """Returns the images of what `flatten` would make of them.

        Args:
            values: Tensor `(N, P, C)`, channels-first `(N, C, P)`.
            inputs: Images of the same height and width.
        """
        shape = ops.shape(inputs)
        sizes = tuple(shape[axis] for axis in self.pixel_axes)
        if self.is_last:
            return ops.reshape(values, (shape[0], *sizes, values.shape[-1]))
        return ops.reshape(values, (shape[0], values.shape[1], *sizes))

    def with_channels(self, input_shape, channels):
        """Returns a shape with another number of channels, a tuple."""
        shape = list(input_shape)
        shape[self.channel_axis] = channels
        return tuple(shape)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), "data_format": self.data_format}


def check_divides(name, value, channels):
    """Raises a ValueError unless an argument divides the channels."""
    if channels % value:
        raise ValueError(
            f"`{name}` must divide the number of channels, {channels}. "
            f"Received: {name}={value!r}"
        )


def narrowed(channels, reduction):
    """Returns the number of channels in the middle of a narrow part.

    Args:
        channels: Integer, number of channels.
        reduction: Integer, factor by which they are narrowed.

    Raises:
        ValueError: If none would be left.
    """
    if reduction > channels:
        raise ValueError(
            f"`reduction` must be at most the number of channels, {channels}. "
            f"Received: reduction={reduction!r}"
        )
    return channels // reduction
