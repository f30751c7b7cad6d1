"""Grouped convolution on JAX."""

import functools

import jax

from keras_epsanet.ops import forms
from keras_epsanet.ops.pixel_tiles import PixelTiles


def convolve_jax(inputs, kernel, strides, groups, data_format):
    """As `grouped_convolution`, of a kernel that fits the inputs."""
    pads = [(size // 2, size // 2) for size in kernel.shape[:2]]
    on_cpu = jax.default_backend() == "cpu"
    pointwise = groups == 1 and tuple(kernel.shape[:2]) == (1, 1)
    if not on_cpu or (groups == 1 and not pointwise):
        layout = "NHWC" if data_format == "channels_last" else "NCHW"
        return jax.lax.conv_general_dilated(
            inputs,
            kernel,
            window_strides=strides,
            padding=pads,
            dimension_numbers=(layout, "HWIO", layout),
            feature_group_count=groups,
        )
    if data_format == "channels_first":
        inputs = inputs.transpose(0, 2, 3, 1)
    if pointwise:
        # As a product of matrices: the gradient of XLA's convolution with
        # respect to such a kernel is 10 times slower.
        inputs = inputs[:, :: strides[0], :: strides[1]]
        *shape, channels = inputs.shape
        outputs = inputs.reshape(-1, channels) @ kernel[0, 0]
        outputs = outputs.reshape(*shape, kernel.shape[3])
    else:
        sizes = _output_sizes(inputs, strides)
        # What XLA makes for 8 lanes was measured alone.
        found = forms.find(kernel, strides, groups, sizes, lanes=8)
        outputs = _convolution_on_cpu()(
            inputs, kernel, tuple(strides), groups, found
        )
    if data_format == "channels_first":
        outputs = outputs.transpose(0, 3, 1, 2)
    return outputs


def _convolve_groups(inputs, kernel, strides, pads, groups):
    parts = zip(
        jax.numpy.split(inputs, groups, -1),
        jax.numpy.split(kernel, groups, -1),
    )
    return jax.numpy.concatenate(
        [
            jax.lax.conv_general_dilated(
                x, k, strides, pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            for x, k in parts
        ],
        axis=-1,
    )


def _output_sizes(inputs, strides):
    return [(n - 1) // s + 1 for n, s in zip(inputs.shape[1:3], strides)]


def _convolve_pixels(inputs, kernel, strides, groups):
    pads = [(size // 2, size // 2) for size in kernel.shape[:2]]
    return _convolve_groups(inputs, kernel, strides, pads, groups)


def _convolve_tiles(inputs, kernel, strides, groups, shape):
    if shape == forms.NO_TILES:
        return _convolve_pixels(inputs, kernel, strides, groups)
    tiles = PixelTiles(kernel.shape, strides, groups, shape)
    sizes = _output_sizes(inputs, strides)
    pads = []
    for size, n, k, s, tile in zip(
        inputs.shape[1:3], sizes, kernel.shape, strides, shape
    ):
        whole = -(-n // tile) * tile
        pads.append((k // 2, (whole - 1) * s + k - size - k // 2))
    outputs = _convolve_groups(
        inputs, tiles.expand(kernel), tiles.strides, pads, groups
    )
    return tiles.to_pixels(outputs)[:, : sizes[0], : sizes[1]]


@functools.cache
def _convolution_on_cpu():
    """Returns the convolution of several groups for a CPU, channels last.

    XLA's own is 10 to 40 times slower than one convolution per group. The
    gradient with respect to the inputs is mostly that without tiles, as on
    TensorFlow. All is compiled as one, for outside of a `jit` JAX would
    compile every slice by itself.
    """

    @functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
    def convolve(inputs, kernel, strides, groups, found):
        return _convolve_tiles(inputs, kernel, strides, groups, found.outputs)

    def forward(inputs, kernel, strides, groups, found):
        outputs = convolve(inputs, kernel, strides, groups, found)
        return outputs, (inputs, kernel)

    def backward(strides, groups, found, operands, upstream):
        inputs, kernel = operands
        # Where a group has enough channels to fill the lanes without tiles.
        filled = kernel.shape[2] > 4 * strides[0]
        of_inputs = forms.NO_TILES if filled else found.outputs
        _, inputs_gradient = jax.vjp(
            lambda x: _convolve_tiles(x, kernel, strides, groups, of_inputs),
            inputs,
        )
        _, kernel_gradient = jax.vjp(
            lambda k: _convolve_tiles(
                inputs, k, strides, groups, found.kernel_gradient
            ),
            kernel,
        )
        return *inputs_gradient(upstream), *kernel_gradient(upstream)

    convolve.defvjp(forward, backward)
    return jax.jit(convolve, static_argnums=(2, 3, 4))
