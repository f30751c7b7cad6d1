"""Grouped convolution as a sum of depthwise ones, for ONNX Runtime.

With AVX-512 ONNX Runtime computes 16 channels at once if a group has as many,
and one channel of each group if it has one. Groups in between are merged with
others, so that most products are with zeros (`pixel_tiles.py`,
`graph/fuse.py`). Depthwise convolutions have none: each multiplies every
channel by the kernel that leads to one output of its group, and a 1×1 kernel
of zeros and ones adds up what they make.
"""

import contextlib

import numpy as np
from keras import ops

_is_exported = False


@contextlib.contextmanager
def exported_for_onnx_runtime():
    """Takes this form, where it pays, for what is traced in a `with` block."""
    global _is_exported
    before, _is_exported = _is_exported, True
    try:
        yield
    finally:
        _is_exported = before


def is_taken(kernel_shape, strides, groups):
    """Whether a convolution that is traced now takes this form."""
    # TensorFlow has no depthwise convolutions of two different strides.
    is_known = len(set(strides)) == 1
    return _is_exported and is_known and pays(kernel_shape, groups)


def pays(kernel_shape, groups):
    """Whether it is the fastest form in ONNX Runtime with AVX-512.

    Measured for the branches of EPSANet-50 Small (docs/deployment.md): it pays
    for one output of a group, or where each of them has enough of the kernel.

    Args:
        kernel_shape: Tuple, `(height, width, C / groups, filters)`.
        groups: Integer.
    """
    height, width, channels, filters = kernel_shape
    outputs = filters // groups
    return (
        channels > 1
        and groups > 1
        and (outputs == 1 or 10 * outputs <= height * width)
    )


def convolve_depthwise(inputs, kernel, strides, groups):
    """As `grouped_convolution`, channels last, of a kernel that fits."""
    height, width, depth, filters = kernel.shape
    channels, outputs = groups * depth, filters // groups
    padding = "same"
    if max(strides) > 1:
        pads = [(size // 2, size // 2) for size in (height, width)]
        inputs, padding = ops.pad(inputs, [(0, 0), *pads, (0, 0)]), "valid"
    parts = ops.reshape(kernel, (height, width, depth, groups, outputs))
    parts = ops.transpose(parts, (4, 0, 1, 3, 2))
    total = 0
    for i in range(outputs):
        products = ops.depthwise_conv(
            inputs,
            ops.reshape(parts[i], (height, width, channels, 1)),
            tuple(strides),
            padding,
            "channels_last",
        )
        sums = np.zeros((1, 1, groups, depth, groups, outputs))
        for group in range(groups):
            sums[..., group, :, group, i] = 1
        sums = ops.convert_to_tensor(
            sums.reshape(1, 1, channels, filters), dtype=kernel.dtype
        )
        total += ops.conv(products, sums, 1, "valid", "channels_last")
    return total
