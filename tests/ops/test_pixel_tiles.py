import numpy as np
import pytest
from keras import ops

from keras_epsanet.ops.pixel_tiles import PixelTiles


def random(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape)


def inner_product(x, y):
    return float(ops.sum(ops.convert_to_tensor(x) * y))


@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (2, 2), (4, 2)])
@pytest.mark.parametrize("depth", [1, 3])
def test_methods_have_their_adjoints(depth, shape, strides):
    tiles = PixelTiles((5, 7, 3, 6 * depth), strides, 6, shape)
    kernel = random(*tiles.kernel_shape)
    expanded = tiles.expand(kernel)
    other = random(*expanded.shape)
    expected = inner_product(expanded, other)
    reduced = tiles.reduce(ops.convert_to_tensor(other))
    np.testing.assert_allclose(inner_product(kernel, reduced), expected)

    pixels = random(2, 3 * shape[0], 5 * shape[1], 6 * depth)
    channels = tiles.to_channels(ops.convert_to_tensor(pixels))
    assert channels.shape[:3] == (2, 3, 5)
    # A permutation, so that the adjoint is the inverse.
    np.testing.assert_array_equal(tiles.to_pixels(channels), pixels)


def test_a_tile_is_made_of_its_strides():
    tiles = PixelTiles((9, 9, 4, 16), (2, 3), 16, (2, 4))
    assert tiles.strides == (2 * 2, 3 * 4)
    assert tiles.expand(random(9, 9, 4, 16)).shape == (11, 18, 4, 8 * 16)


@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (2, 4)])
def test_tiles_hold_the_pixels_of_the_convolution(shape, strides):
    kernel, groups = random(3, 5, 2, 6), 2
    tiles = PixelTiles(kernel.shape, strides, groups, shape)
    rows, columns = 2 * shape[0], 3 * shape[1]
    height = (rows - 1) * strides[0] + 3
    width = (columns - 1) * strides[1] + 5
    x = random(2, height, width, 4)

    def convolve(kernel, strides):
        kernel = ops.convert_to_numpy(kernel)
        parts = [
            ops.conv(part, half, strides, "valid", "channels_last")
            for part, half in zip(
                np.split(x, groups, axis=3), np.split(kernel, groups, axis=3)
            )
        ]
        return ops.concatenate(parts, axis=3)

    found = tiles.to_pixels(convolve(tiles.expand(kernel), tiles.strides))
    expected = convolve(kernel, strides)
    assert found.shape == expected.shape == (2, rows, columns, 6)
    np.testing.assert_allclose(
        ops.convert_to_numpy(found), ops.convert_to_numpy(expected), atol=1e-9
    )
