"""Grouped convolution on PyTorch."""

import torch


def convolve_torch(inputs, kernel, strides, groups, data_format):
    """As `grouped_convolution`, of a kernel that fits the inputs."""
    # A permuted view of a channels-last tensor is PyTorch's own
    # channels-last layout, so nothing is copied, but for tensors that Keras
    # made with the channels first, as its pooling does: all that follows
    # would be as they are, and slow.
    if data_format == "channels_last":
        inputs = inputs.permute(0, 3, 1, 2)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    kernel = kernel.permute(3, 2, 0, 1)
    if kernel.dtype == torch.float64 or kernel.shape[0] == 1:
        # On a CPU PyTorch has no gradient for some of the others.
        kernel = kernel.contiguous()
    outputs = torch.nn.functional.conv2d(
        inputs,
        kernel,
        stride=strides,
        padding=(kernel.shape[2] // 2, kernel.shape[3] // 2),
        groups=groups,
    )
    if data_format == "channels_last":
        outputs = outputs.permute(0, 2, 3, 1)
    return outputs
