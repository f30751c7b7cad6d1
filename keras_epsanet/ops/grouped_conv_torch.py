"""Grouped convolution on PyTorch."""

import torch

from keras_epsanet.ops import forms
from keras_epsanet.ops.pixel_tiles import PixelTiles
from keras_epsanet.ops.processor import vector_lanes


def convolve_torch(inputs, kernel, strides, groups, data_format):
    """As `grouped_convolution`, of a kernel that fits the inputs."""
    if data_format == "channels_first":
        return _convolve(inputs, kernel, strides, groups, None)
    # A permuted view of a channels-last tensor is PyTorch's own
    # channels-last layout, so nothing is copied, but for tensors that Keras
    # made with the channels first, as its pooling does: all that follows
    # would be as they are, and slow.
    inputs = inputs.permute(0, 3, 1, 2)
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    if groups > 1 and _has_onednn(inputs):
        sizes = _output_sizes(inputs, strides)
        found = forms.find(kernel, strides, groups, sizes, vector_lanes())
        if set(found) != {forms.NO_TILES}:
            outputs = _TiledConvolution.apply(
                inputs, kernel, tuple(strides), groups, found
            )
            return outputs[:, : sizes[0], : sizes[1]]
    return _convolve(inputs, kernel, strides, groups).permute(0, 2, 3, 1)


def _convolve(inputs, kernel, strides, groups, layout=torch.channels_last):
    return torch.nn.functional.conv2d(
        inputs,
        _to_torch(kernel, layout),
        stride=strides,
        padding=_half(kernel),
        groups=groups,
    )


def _has_onednn(inputs):
    return (
        # Keras asks tensors of "meta" for the shapes of outputs.
        inputs.device.type in ("cpu", "meta")
        and inputs.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
        and not torch.jit.is_tracing()  # As the export to ONNX does.
    )


def _to_torch(kernel, layout=torch.channels_last):
    kernel = kernel.permute(3, 2, 0, 1)
    if kernel.dtype == torch.float64 or kernel.shape[0] == 1:
        # On a CPU PyTorch has no gradient for some of the others.
        return kernel.contiguous()
    # A view would be copied in the slower layout, forward and backward.
    return kernel.contiguous(memory_format=layout) if layout else kernel


def _half(kernel):
    return [size // 2 for size in kernel.shape[:2]]


def _output_sizes(inputs, strides):
    return [(n - 1) // s + 1 for n, s in zip(inputs.shape[2:], strides)]


class _TiledConvolution(torch.autograd.Function):
    """Convolution of several groups for a CPU, by tiles of pixels.

    From `(N, C, H, W)` to `(N, H', W', filters)` of whole tiles. The inputs'
    gradient is that of the plain convolution, whose lanes are the channels
    of the inputs, of which a group has enough.
    """

    @staticmethod
    def forward(inputs, kernel, strides, groups, found):
        tiles = PixelTiles(kernel.shape, strides, groups, found.outputs)
        outputs = torch.nn.functional.conv2d(
            _fill_tiles(inputs, kernel, strides, found),
            _to_torch(tiles.expand(kernel)),
            stride=tiles.strides,
            padding=_half(kernel),
            groups=groups,
        )
        return tiles.to_pixels(outputs.permute(0, 2, 3, 1))

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[:2])
        ctx.arguments = inputs[2:]

    @staticmethod
    def backward(ctx, upstream):
        inputs, kernel = ctx.saved_tensors
        strides, groups, found = ctx.arguments
        of_inputs = of_kernel = None
        if ctx.needs_input_grad[0]:
            height, width = _output_sizes(inputs, strides)
            of_inputs = _gradients(
                upstream[:, :height, :width],
                *(inputs, kernel, strides, _half(kernel), groups),
                (True, False, False),
            )[0]
        if ctx.needs_input_grad[1]:
            tiles = PixelTiles(
                kernel.shape, strides, groups, found.kernel_gradient
            )
            of_expanded = _gradients(
                tiles.to_channels(upstream),
                _fill_tiles(inputs, kernel, strides, found),
                *(tiles.expand(kernel), tiles.strides, _half(kernel), groups),
                (False, True, False),
            )[1]
            of_kernel = tiles.reduce(of_expanded.permute(2, 3, 1, 0))
        return of_inputs, of_kernel, None, None, None


def _gradients(upstream, inputs, kernel, strides, padding, groups, which):
    return torch.ops.aten.convolution_backward(
        upstream.permute(0, 3, 1, 2),
        inputs,
        _to_torch(kernel),
        None,
        strides,
        padding,
        (1, 1),
        False,
        (0, 0),
        groups,
        which,
    )


def _fill_tiles(inputs, kernel, strides, found):
    """Pads rows and columns until all tiles are whole.

    The convolution itself pads half of the kernel on every side.
    """
    pads = []
    for size, n, k, stride, pixels in zip(
        inputs.shape[2:],
        _output_sizes(inputs, strides),
        kernel.shape,
        strides,
        map(max, *found),
    ):
        whole = -(-n // pixels) * pixels
        more = (whole - 1) * stride + k - size - 2 * (k // 2)
        pads = [0, max(more, 0), *pads]
    return torch.nn.functional.pad(inputs, pads) if any(pads) else inputs
