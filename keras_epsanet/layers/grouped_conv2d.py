"""GroupedConv2D, the convolution of all layers of EPSANet."""

import math

import keras
from keras import ops

from keras_epsanet.integers import check_positive, python_integers
from keras_epsanet.ops.grouped_conv import grouped_convolution


@keras.saving.register_keras_serializable(package="keras_epsanet")
class GroupedConv2D(keras.layers.Conv2D):
    """Convolution with symmetric padding of half the kernel and any groups.

    Equal in value to `keras.layers.Conv2D(groups=groups)` behind a
    `ZeroPadding2D(kernel_size // 2)`. It differs in how it is computed: on
    TensorFlow the stock layer compiles every grouped convolution with XLA,
    which on a CPU takes far longer and cannot be exported to ONNX; this one
    calls the framework's grouped kernel directly, or one ordinary
    convolution per group where the framework has no gradient for it.

    As that of `keras.layers.Conv2D`, its `quantize` raises a
    NotImplementedError: `keras.Model.quantize` passes over it with a warning
    and quantizes the dense layers, those of `SEWeight` included.

    Args:
        filters: Integer, number of output channels, divisible by `groups`.
        kernel_size: Odd positive integer or pair of them, in pixels.
        strides: Positive integer or pair of them, in pixels.
        groups: Integer that divides the input channels and `filters`.
        use_bias: Whether a bias is added.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        kernel_initializer: Initializer of the kernel. `None` is a normal
            distribution of variance `2 / (height * width * filters)`, which
            the implementation of the paper uses.
        kernel_regularizer: Optional regularizer of the kernel.
        **kwargs: Further arguments of `keras.layers.Conv2D`, without
            `padding` and `dilation_rate`.

    Call arguments:
        inputs: Tensor of the input shape.
        layout: `"channels_last"` or `"channels_first"`, in which the inputs
            come and the convolution is computed; `None` is `data_format`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        `(N, ceil(H / strides), ceil(W / strides), filters)`, channels-first
        `(N, filters, ceil(H / strides), ceil(W / strides))`.

    Raises:
        ValueError: If the kernel size is even or not positive, if `groups`
            does not divide the input channels or `filters`, or if `padding`
            or `dilation_rate` is given.

    Example:

    >>> layer = GroupedConv2D(16, 5, strides=2, groups=4)
    >>> layer(keras.ops.ones((1, 9, 9, 8))).shape == (1, 5, 5, 16)
    True

    Reference: the convolutions of equation 4 of
    [EPSANet](https://arxiv.org/abs/2105.14447).
    """

    def __init__(
        self,
        filters,
        kernel_size,
        strides=1,
        groups=1,
        use_bias=False,
        data_format=None,
        kernel_initializer=None,
        kernel_regularizer=None,
        **kwargs,
    ):
        for name in ("padding", "dilation_rate"):
            if name in kwargs:
                raise ValueError(
                    f"GroupedConv2D has no argument `{name}`: it pads half "
                    "of the kernel on every side and does not dilate. "
                    f"Received: {name}={kwargs[name]!r}"
                )
        filters, groups = check_positive(filters=filters, groups=groups)
        kernel_size = python_integers(kernel_size)
        if kernel_initializer is None:
            kernel_initializer = fan_out_normal()
        super().__init__(
            filters,
            kernel_size,
            strides=python_integers(strides),
            groups=groups,
            use_bias=use_bias,
            data_format=data_format,
            kernel_initializer=kernel_initializer,
            kernel_regularizer=kernel_regularizer,
            **kwargs,
        )
        if any(size % 2 == 0 for size in self.kernel_size):
            raise ValueError(
                "`kernel_size` must be odd, so that half of it can be padded "
                f"on every side. Received: kernel_size={kernel_size!r}"
            )
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        super().build(input_shape)
        self.input_spec = keras.layers.InputSpec(
            ndim=4, axes=self.input_spec.axes
        )

    def call(self, inputs, layout=None):
        is_last = (layout or self.data_format) == "channels_last"
        plain = not self.use_bias or (self.groups == 1 and is_last)
        if layout is None and plain:
            return super().call(inputs)
        # Subclasses know of no layout.
        arguments = {"layout": layout} if layout else {}
        outputs = self.convolution_op(inputs, self.kernel, **arguments)
        if self.use_bias:
            shape = [1, 1, 1, -1] if is_last else [1, -1, 1, 1]
            # TensorFlow merges an addition into the convolution, which
            # without oneDNN fails for groups, and Keras adds a bias to the
            # columns where there are as many as channels. Both leave a
            # subtraction alone.
            outputs = outputs - ops.reshape(-self.bias, shape)
        if self.activation is None:
            return outputs
        return self.activation(outputs)

    def convolution_op(self, inputs, kernel, layout=None):
        return grouped_convolution(
            inputs,
            kernel,
            self.strides,
            self.groups,
            layout or self.data_format,
            native=layout is not None,
        )

    def compute_output_shape(self, input_shape):
        first = 1 if self.data_format == "channels_last" else 2
        padded = list(input_shape)
        for axis, size in enumerate(self.kernel_size, start=first):
            if padded[axis] is not None:
                padded[axis] += 2 * (size // 2)
        return super().compute_output_shape(tuple(padded))

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        elements = math.prod(self.compute_output_shape(input_shape)[1:])
        is_relu = self.activation is keras.activations.relu
        return {
            "macs": elements // self.filters * math.prod(self.kernel.shape),
            "biases": elements if self.use_bias else 0,
            "relus": elements if is_relu else 0,
        }

    def get_config(self):
        config = super().get_config()
        del config["padding"], config["dilation_rate"]
        return config


def fan_out_normal():
    """Returns a new initializer: normal of variance `2 / (k * k * filters)`.

    The one that the implementation of the paper gives every convolution.
    """
    return keras.initializers.VarianceScaling(
        2.0, mode="fan_out", distribution="untruncated_normal"
    )
