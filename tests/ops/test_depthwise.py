import keras
import numpy as np
import pytest

from keras_epsanet.layers import GroupedConv2D
from keras_epsanet.ops.depthwise import convolve_depthwise, is_fastest
from keras_epsanet.ops.grouped_conv import grouped_convolution


@pytest.mark.parametrize(
    "pixels, size, depth, filters, groups, strides",
    [
        (12, 9, 4, 4, 4, 1),  # One output of each group.
        (12, 9, 2, 12, 2, 1),
        (12, 7, 3, 8, 2, 2),
        (12, 5, 4, 4, 2, 3),
        (3, 9, 2, 8, 4, 1),  # Of a kernel that the image cuts off.
    ],
)
def test_it_is_the_grouped_convolution(
    pixels, size, depth, filters, groups, strides
):
    random = np.random.default_rng(0)
    images = random.standard_normal((2, pixels, pixels - 1, depth * groups))
    kernel = random.standard_normal((size, size, depth, filters))
    images, kernel = (
        keras.ops.convert_to_tensor(x.astype("float32"))
        for x in (images, kernel)
    )
    strides = (strides, strides)
    expected = grouped_convolution(
        images, kernel, strides, groups, "channels_last"
    )
    found = convolve_depthwise(images, kernel, strides, groups)
    np.testing.assert_allclose(
        *map(keras.ops.convert_to_numpy, (found, expected)),
        rtol=1e-5,
        atol=1e-4,
    )


@pytest.mark.parametrize(
    "size, depth, filters, groups, expected",
    [
        (3, 4, 32, 32, True),  # One output of a group.
        (3, 8, 64, 32, False),
        (5, 8, 64, 32, True),
        (5, 16, 16, 4, False),
        (7, 16, 32, 8, True),
        (7, 32, 64, 8, False),
        (9, 32, 128, 16, True),
        (9, 64, 128, 1, False),
        (9, 1, 64, 64, False),  # That is depthwise already.
    ],
)
def test_it_is_taken_where_it_was_the_fastest(
    size, depth, filters, groups, expected
):
    layer = GroupedConv2D(filters, size, groups=groups)
    layer.build((1, 5, 5, depth * groups))
    assert is_fastest(layer) is expected
    first = GroupedConv2D(
        filters, size, groups=groups, data_format="channels_first"
    )
    first.build((1, depth * groups, 5, 5))
    assert not is_fastest(first)
