"""Grouped convolution that every backend runs with its own fast kernels."""

import functools
import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_epsanet")
class GroupedConv2D(keras.layers.Conv2D):
    """Convolution with symmetric padding of half the kernel and any groups.

    Equal in value to `keras.layers.Conv2D(groups=groups)` behind a
    `ZeroPadding2D(kernel_size // 2)`. It differs in how it is computed: on
    TensorFlow the stock layer compiles every grouped convolution with XLA,
    which on a CPU takes far longer and cannot be exported to ONNX; this one
    calls the framework's grouped kernel directly, or one ordinary
    convolution per group where the framework has no gradient for it.

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
                    f"Received: {name}={kwargs[name]}"
                )
        if kernel_initializer is None:
            kernel_initializer = fan_out_normal()
        super().__init__(
            filters,
            kernel_size,
            strides=strides,
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
                f"on every side. Received: kernel_size={kernel_size}"
            )
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        super().build(input_shape)
        self.input_spec = keras.layers.InputSpec(
            ndim=4, axes=self.input_spec.axes
        )

    def convolution_op(self, inputs, kernel):
        return grouped_convolution(
            inputs, kernel, self.strides, self.groups, self.data_format
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


def grouped_convolution(inputs, kernel, strides, groups, data_format):
    """Grouped 2D convolution, padded by half of the kernel on every side.

    Args:
        inputs: Tensor `(N, H, W, C)`, channels-first `(N, C, H, W)`.
        kernel: Tensor `(height, width, C / groups, filters)`.
        strides: Pair of integers, in pixels.
        groups: Integer, number of groups.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        Tensor `(N, H', W', filters)`, channels-first `(N, filters, H', W')`.
    """
    convolve = {
        "tensorflow": _convolve_tensorflow,
        "jax": _convolve_jax,
        "torch": _convolve_torch,
    }[keras.backend.backend()]
    return convolve(
        ops.convert_to_tensor(inputs),
        ops.convert_to_tensor(kernel),
        strides,
        groups,
        data_format,
    )


def _convolve_per_group(convolve, inputs, kernel, strides, groups, data_format):
    axis = -1 if data_format == "channels_last" else 1
    parts = zip(
        ops.split(inputs, groups, axis=axis),
        ops.split(kernel, groups, axis=-1),
    )
    return ops.concatenate(
        [convolve(x, k, strides, 1, data_format) for x, k in parts], axis=axis
    )


def _convolve_tensorflow(inputs, kernel, strides, groups, data_format):
    import tensorflow as tf

    if data_format == "channels_first":
        # TensorFlow has no channels-first convolutions for every type on a
        # CPU, and a GPU's layout pass removes the transpositions it can.
        outputs = _convolve_tensorflow(
            tf.transpose(inputs, (0, 2, 3, 1)),
            kernel,
            strides,
            groups,
            "channels_last",
        )
        return tf.transpose(outputs, (0, 3, 1, 2))
    if groups > 1 and not _tensorflow_has_gpu():
        if groups == kernel.shape[-1] and strides[0] == strides[1]:
            return _convolve_depthwise_tensorflow(inputs, kernel, strides)
        if not _tensorflow_has_grouped_gradient(kernel.dtype):
            return _convolve_per_group(
                _convolve_tensorflow,
                inputs,
                kernel,
                strides,
                groups,
                data_format,
            )
    inputs, padding = _pad_tensorflow(inputs, kernel, strides)
    return tf.nn.conv2d(inputs, kernel, strides, padding)


def _pad_tensorflow(inputs, kernel, strides):
    """Pads for odd kernels; returns the inputs and what is left to pad."""
    import tensorflow as tf

    if tuple(strides) == (1, 1):
        return inputs, "SAME"  # Without strides that is half of the kernel.
    # Explicit paddings in `conv2d` itself would do without the copy, but
    # oneDNN has no gradient for them.
    pads = [[size // 2, size // 2] for size in kernel.shape[:2]]
    return tf.pad(inputs, [[0, 0], *pads, [0, 0]]), "VALID"


def _convolve_depthwise_tensorflow(inputs, kernel, strides):
    """Groups of one output channel: a depthwise convolution, then a sum.

    On a CPU this takes a third of the time of the grouped kernel forward,
    and no more backward.
    """
    import tensorflow as tf

    height, width, depth, groups = kernel.shape
    inputs, padding = _pad_tensorflow(inputs, kernel, strides)
    outputs = tf.nn.depthwise_conv2d(
        inputs,
        tf.reshape(
            tf.transpose(kernel, (0, 1, 3, 2)),
            (height, width, groups * depth, 1),
        ),
        (1, *strides, 1),
        padding,
    )
    sizes = tf.shape(outputs)
    sizes = [
        sizes[i] if size is None else size
        for i, size in enumerate(outputs.shape[:3])
    ]
    return tf.reduce_sum(tf.reshape(outputs, (*sizes, groups, depth)), -1)


def _tensorflow_has_gpu():
    import tensorflow as tf

    with tf.init_scope():
        return bool(tf.config.list_logical_devices("GPU"))


@functools.cache
def _tensorflow_has_grouped_gradient(dtype):
    """Asks TensorFlow for the gradient of a tiny grouped convolution.

    A CPU has it through oneDNN only, which depends on the processor, the
    build, TF_ENABLE_ONEDNN_OPTS and the data type.
    """
    import tensorflow as tf

    # Out of the graph that is being traced. No tape: none records in there.
    with tf.init_scope(), tf.device("CPU:0"):
        image = tf.zeros((1, 3, 3, 4), dtype)
        kernel = tf.zeros((3, 3, 2, 4), dtype)
        options = {"strides": [1, 1, 1, 1], "padding": "SAME"}
        try:
            tf.raw_ops.Conv2DBackpropInput(
                input_sizes=image.shape,
                filter=kernel,
                out_backprop=image,
                **options,
            )
            tf.raw_ops.Conv2DBackpropFilter(
                input=image,
                filter_sizes=kernel.shape,
                out_backprop=image,
                **options,
            )
        except (
            tf.errors.InvalidArgumentError,
            tf.errors.UnimplementedError,
        ):
            return False
    return True


def _convolve_jax(inputs, kernel, strides, groups, data_format):
    import jax

    if groups > 1 and jax.default_backend() == "cpu":
        # XLA's grouped convolutions on a CPU are 10 to 40 times slower than
        # one convolution per group. Compiled as one, for outside of a `jit`
        # JAX would compile every slice by itself.
        return jax.jit(_convolve_per_group, static_argnums=(0, 3, 4, 5))(
            _convolve_jax, inputs, kernel, tuple(strides), groups, data_format
        )
    layout = "NHWC" if data_format == "channels_last" else "NCHW"
    return jax.lax.conv_general_dilated(
        inputs,
        kernel,
        window_strides=strides,
        padding=[(size // 2, size // 2) for size in kernel.shape[:2]],
        dimension_numbers=(layout, "HWIO", layout),
        feature_group_count=groups,
    )


def _convolve_torch(inputs, kernel, strides, groups, data_format):
    import torch

    # A permuted view of a channels-last tensor is PyTorch's own
    # channels-last layout, so nothing is copied.
    if data_format == "channels_last":
        inputs = inputs.permute(0, 3, 1, 2)
    outputs = torch.nn.functional.conv2d(
        inputs,
        kernel.permute(3, 2, 0, 1),
        stride=strides,
        padding=(kernel.shape[0] // 2, kernel.shape[1] // 2),
        groups=groups,
    )
    if data_format == "channels_last":
        outputs = outputs.permute(0, 2, 3, 1)
    return outputs
