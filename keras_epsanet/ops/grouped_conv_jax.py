"""Grouped convolution on JAX."""

import functools

import jax
import jax.numpy as jnp

from keras_epsanet.ops import forms
from keras_epsanet.ops.pixel_tiles import PixelTiles


def convolve_jax(inputs, kernel, strides, groups, data_format):
    """As `grouped_convolution`, of a kernel that fits the inputs."""
    pads = [(size // 2, size // 2) for size in kernel.shape[:2]]
    pointwise = groups == 1 and tuple(kernel.shape[:2]) == (1, 1)
    plain = groups == 1 and not pointwise and max(strides) == 1
    if plain or jax.default_backend() != "cpu":
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
        found = forms.find(kernel, strides, groups, sizes, lanes="xla")
        outputs = _convolve_on_cpu(
            inputs, kernel, tuple(strides), groups, found
        )
    if data_format == "channels_first":
        outputs = outputs.transpose(0, 3, 1, 2)
    return outputs


# All is compiled as one, for outside of a `jit` JAX would compile every slice
# by itself.
@functools.partial(jax.jit, static_argnums=(2, 3, 4))
@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
def _convolve_on_cpu(inputs, kernel, strides, groups, found):
    """The convolution for a CPU, channels last.

    XLA's own is 10 to 40 times slower for groups than one convolution per
    group. The gradients are the transposes of the tangents below.
    """
    return _convolve_tiles(inputs, kernel, strides, groups, found.outputs)


def _tangent(strides, groups, found, primals, tangents):
    inputs, kernel = primals
    outputs = _convolve_on_cpu(inputs, kernel, strides, groups, found)
    tangent = jnp.zeros_like(outputs)
    zero = jax.custom_derivatives.SymbolicZero
    if not isinstance(tangents[0], zero):
        # Blocks with strides too: XLA's gradient of strides is very slow.
        plan = (strides, groups, found.outputs, "inputs")
        tangent += _convolve_blocks(tangents[0], kernel, *plan)
    if not isinstance(tangents[1], zero):
        plan = (strides, groups, found.kernel_gradient, "kernel")
        tangent += _convolve_tiles(inputs, tangents[1], *plan)
    return outputs, tangent


_convolve_on_cpu.__wrapped__.defjvp(_tangent, symbolic_zeros=True)


def _convolve_groups(inputs, kernel, strides, pads, groups, gradient):
    """One convolution per group, for the outputs or for a gradient.

    Where the kernel is larger than the images, XLA is 9 times slower than with
    images that were padded before. So it is for the inputs' gradient, unless
    that starts by padding the upstream: the transpose of cutting a rim off.
    """
    sizes = kernel.shape[:2]
    is_larger = any(k > n for k, n in zip(sizes, inputs.shape[1:3]))
    rims = [(0, 0), (0, 0)]
    if is_larger and gradient is None:
        inputs = jnp.pad(inputs, [(0, 0), *pads, (0, 0)])
        pads = [(0, 0), (0, 0)]
    elif is_larger and gradient == "inputs":
        rims = [
            (size - 1 - before, size - 1 - after)
            for size, (before, after) in zip(sizes, pads)
        ]
        pads = [(size - 1, size - 1) for size in sizes]
    parts = zip(jnp.split(inputs, groups, -1), jnp.split(kernel, groups, -1))
    outputs = [
        jax.lax.conv_general_dilated(
            x, k, strides, pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        for x, k in parts
    ]
    outputs = jnp.concatenate(outputs, axis=-1)
    height, width = outputs.shape[1:3]
    (top, bottom), (left, right) = rims
    return outputs[:, top : height - bottom, left : width - right]


def _convolve_tiles(inputs, kernel, strides, groups, tile, gradient=None):
    if tile != forms.NO_TILES:
        return _convolve_blocks(inputs, kernel, strides, groups, tile, gradient)
    pads = [(size // 2, size // 2) for size in kernel.shape[:2]]
    return _convolve_groups(inputs, kernel, strides, pads, groups, gradient)


def _convolve_blocks(inputs, kernel, strides, groups, tile, gradient):
    """Computes tiles of outputs from blocks of input pixels as channels.

    A block is as large as the strides of the tiles, so that the convolution
    of blocks has none.
    """
    tiles = PixelTiles(kernel.shape, strides, groups, tile)
    pads, rims = [], []
    for size, expanded, block in zip(
        kernel.shape, tiles.expanded_sizes, tiles.strides
    ):
        # Zeros in front, so that the kernel starts with a whole block.
        before = -(-(size // 2) // block)
        front = before * block - size // 2
        blocks = -(-(front + expanded) // block)
        rims.append((front, blocks * block - front - expanded))
        pads.append((before, blocks - 1 - before))
    kernel = jnp.pad(tiles.expand(kernel), [*rims, (0, 0), (0, 0)])
    kernel = _to_blocks(kernel.transpose(3, 0, 1, 2), tiles.strides, 1)
    outputs = _convolve_groups(
        _to_blocks(inputs, tiles.strides, groups),
        kernel.transpose(1, 2, 3, 0),
        *((1, 1), pads, groups, gradient),
    )
    rows, columns = _output_sizes(inputs, strides)
    return tiles.to_pixels(outputs)[:, :rows, :columns]


def _to_blocks(images, block, groups):
    """Turns `(N, H, W, C)` into `(N, H / rows, W / columns, …)`.

    The pixels of a block become channels of each group, one after the other.
    """
    if block == (1, 1):
        return images
    n, h, w, channels = images.shape
    rows, columns = block
    images = jnp.pad(
        images, [(0, 0), (0, -h % rows), (0, -w % columns), (0, 0)]
    )
    images = images.reshape(
        n, -(-h // rows), rows, -(-w // columns), columns, groups, -1
    )
    images = images.transpose(0, 1, 3, 5, 2, 4, 6)
    return images.reshape(*images.shape[:3], -1)


def _output_sizes(inputs, strides):
    return [(n - 1) // s + 1 for n, s in zip(inputs.shape[1:3], strides)]
