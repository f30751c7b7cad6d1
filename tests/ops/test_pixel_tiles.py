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
