"""Grouped convolution as a sum of depthwise ones, for ONNX Runtime.

With AVX-512 ONNX Runtime computes 16 channels at once if a group has as many,
and one channel of each group if it has one. Groups in between are merged with
others, so that most products are with zeros (`pixel_tiles.py`,
`graph/fuse.py`). Depthwise convolutions have none: each multiplies every
channel by the kernel that leads to one output of its group, and a 1×1 kernel
of zeros and ones adds up what they make.
"""

import numpy as np
from keras import ops

from keras_epsanet.ops.grouped_conv import crop_to_reach


def is_fastest(convolution):
    """Whether it is the fastest form in ONNX Runtime with AVX-512.

    Measured for EPSANet-50 Small by branches and for Large as a whole
    (docs/deployment.md): it is for one output of a group, or where each of
    them has enough of the kernel.

    Args:
        convolution: Built `GroupedConv2D`.
    """
    height, width, channels, filters = convolution.kernel.shape
    outputs = filters // convolution.groups
    return (
        convolution.data_format == "channels_last"
        # TensorFlow has no depthwise convolutions of two different strides.
        and len(set(convolution.strides)) == 1
        and min(channels, convolution.groups) > 1
        and (outputs == 1 or 10 * outputs <= height * width)
    )


def convolve_depthwise(inputs, kernel, strides, groups):
    """As `grouped_convolution`, channels last, with the same strides twice."""
    kernel = crop_to_reach(kernel, inputs.shape, "channels_last")
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
