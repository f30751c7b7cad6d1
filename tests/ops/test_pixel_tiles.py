import numpy as np
import pytest
from keras import ops

from keras_epsanet.ops.pixel_tiles import LANES, PixelTiles


def random(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape)


def inner_product(x, y):
    return float(ops.sum(ops.convert_to_tensor(x) * y))


@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
@pytest.mark.parametrize(
    "depth, shape", [(1, (2, 4)), (2, (2, 2)), (3, (1, 2)), (4, (1, 2))]
)
def test_tiles_fill_the_lanes_and_have_adjoints(depth, shape, strides):
    tiles = PixelTiles((5, 7, 3, 6 * depth), strides, 6, (40, 40))
    assert tiles.shape == shape
    assert LANES // 2 < depth * np.prod(shape) <= LANES

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


@pytest.mark.parametrize(
    "output_sizes, shape",
    [
        ((10, 12), (2, 4)),  # As large as the kernel of a tile.
        ((9, 12), (1, 1)),
        ((10, 11), (1, 1)),
        ((None, None), (2, 4)),
        ((None, 11), (1, 1)),
    ],
)
def test_a_tile_is_made_of_its_strides_and_fits_the_image(output_sizes, shape):
    tiles = PixelTiles((9, 9, 4, 16), (1, 1), 16, output_sizes)
    assert tiles.shape == shape
    tiles = PixelTiles((9, 9, 4, 16), (2, 3), 16, (40, 40))
    assert tiles.strides == (2 * 2, 3 * 4)
    assert tiles.expand(random(9, 9, 4, 16)).shape == (11, 18, 4, 8 * 16)


@pytest.mark.parametrize(
    "kernel_shape, groups, output_sizes",
    [
        ((9, 9, 4, 128), 16, (56, 56)),  # 8 channels in a group.
        ((9, 9, 4, 16), 16, (9, 56)),  # The kernel of a tile has 10 rows.
        ((1, 1, 4, 16), 16, (56, 56)),  # Nothing but zeros would be added.
    ],
)
def test_nothing_is_tiled_where_it_would_not_pay(
    kernel_shape, groups, output_sizes
):
    tiles = PixelTiles(kernel_shape, (1, 1), groups, output_sizes)
    assert tiles.shape == (1, 1)
