import numpy as np
import pytest
from equations import sigmoid, simam
from keras import ops

from keras_epsanet.attention import SimAM


def test_equation(check_equation, size, dtype):
    check_equation(
        lambda **kwargs: SimAM(0.01, **kwargs),
        lambda x, layer: simam(x, 0.01),
        (2, *size, 16),
        dtype,
    )


def test_an_even_image_is_weighed_by_the_half_of_the_equation():
    y = SimAM(dtype="float64")(np.ones((1, 1, 1, 4)))
    np.testing.assert_allclose(ops.convert_to_numpy(y), sigmoid(0.5))


def test_large_deviations_are_squared_within_float16():
    x = np.zeros((1, 8, 8, 1), "float16")
    x[0, 0, 0, 0] = 1000
    y = ops.convert_to_numpy(SimAM(dtype="float16")(x))
    np.testing.assert_allclose(y[0, 0, 0, 0], 1000, rtol=1e-3)
    assert np.isfinite(y).all()


@pytest.mark.parametrize("value", [0, -1.0])
def test_regularization_must_be_positive(value):
    with pytest.raises(ValueError, match=f"Received: regularization={value}"):
        SimAM(value)


def test_arguments_and_training(check_contract):
    check_contract(SimAM, regularization=0.0001)
