"""Grouped convolution, by each backend in its fastest exact form."""

import functools

import keras
from keras import ops


def grouped_convolution(
    inputs, kernel, strides, groups, data_format, native=False
):
    """Grouped 2D convolution, padded by half of the kernel on every side.

    Args:
        inputs: Tensor `(N, H, W, C)`, channels-first `(N, C, H, W)`, of any
            type: it is cast to the kernel's.
        kernel: Tensor `(height, width, C / groups, filters)`.
        strides: Pair of integers, in pixels.
        groups: Integer, number of groups.
        data_format: `"channels_last"` or `"channels_first"`.
        native: Whether TensorFlow on a GPU computes channels-first inputs as
            they are, where it would transpose them otherwise.

    Returns:
        Tensor `(N, H', W', filters)`, channels-first `(N, filters, H', W')`.
    """
    kernel = ops.convert_to_tensor(kernel)
    inputs = ops.convert_to_tensor(inputs, dtype=kernel.dtype)
    kernel = crop_to_reach(kernel, inputs.shape, data_format)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        from keras_epsanet.ops.grouped_conv_tensorflow import (
            convolve_tensorflow as convolve,
        )

        if native:
            convolve = functools.partial(convolve, native=True)
    elif backend == "jax":
        from keras_epsanet.ops.grouped_conv_jax import (
            convolve_jax as convolve,
        )
    else:
        from keras_epsanet.ops.grouped_conv_torch import (
            convolve_torch as convolve,
        )
    return convolve(inputs, kernel, strides, groups, data_format)


def crop_to_reach(kernel, input_shape, data_format):
    """Leaves out the rim of a kernel that only ever meets the padding.

    From any pixel, the farthest of `n` in a row is `n - 1` away.

    Args:
        kernel: Tensor `(height, width, C / groups, filters)`.
        input_shape: Shape of the inputs; what is unknown is `None`.
        data_format: `"channels_last"` or `"channels_first"`.
    """
    first = 1 if data_format == "channels_last" else 2
    sizes = kernel.shape[:2]
    reach = [
        size if pixels is None else min(size, 2 * pixels - 1)
        for size, pixels in zip(sizes, input_shape[first : first + 2])
    ]
    if reach == list(sizes):
        return kernel
    start = [(size - reached) // 2 for size, reached in zip(sizes, reach)]
    return ops.slice(kernel, (*start, 0, 0), (*reach, *kernel.shape[2:]))
