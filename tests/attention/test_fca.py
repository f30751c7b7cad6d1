import numpy as np
import pytest
from equations import dct_mask, fca, values
from keras import ops

from keras_epsanet.attention import FCA


@pytest.mark.parametrize("grid", [7, 14])
def test_equation(check_equation, size, dtype, grid):
    # Images smaller, larger and not square, and of the grid itself.
    size = (7, 7) if size == (6, 6) else size
    check_equation(
        lambda **kwargs: FCA(grid, 4, **kwargs),
        lambda x, layer: fca(
            x, *values(layer.mlp.fc1.kernel, layer.mlp.fc2.kernel), grid
        ),
        (2, *size, 32),
        dtype,
    )


def test_the_lowest_frequency_is_the_mean():
    layer = FCA(7, frequencies=[(0, 0)], data_format="channels_last")
    mask = ops.convert_to_numpy(layer._make_mask((1, 14, 21, 4), "float32"))
    np.testing.assert_allclose(mask, 7 / (14 * 21), rtol=1e-6)


def test_other_frequencies():
    layer = FCA(7, frequencies=[(3, 1), (0, 2)], data_format="channels_first")
    mask = ops.convert_to_numpy(layer._make_mask((1, 6, 7, 7), "float32"))
    expected = dct_mask(6, 7, [3, 0], [1, 2])
    np.testing.assert_allclose(mask.transpose(1, 2, 0), expected, atol=1e-6)


def test_large_sums_do_not_overflow_float16():
    layer = FCA(7, 4, dtype="float16")
    x = np.full((1, 64, 64, 16), 100, "float16")
    assert np.isfinite(ops.convert_to_numpy(layer(x))).all()


def test_the_published_number_of_parameters():
    layer = FCA(14)
    layer.build((None, 14, 14, 1024))
    assert layer.count_params() == 2 * 1024**2 // 16


def test_arguments_and_training(check_contract):
    check_contract(FCA, grid=7, reduction=16, frequencies=None)
