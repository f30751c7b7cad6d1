import numpy as np
import pytest
from equations import se, values
from keras import ops

from keras_epsanet.attention import SE


@pytest.mark.parametrize("use_bias", [False, True])
def test_equation(check_equation, size, dtype, use_bias):
    def equation(x, layer):
        fc1, fc2 = layer.mlp.fc1, layer.mlp.fc2
        biases = (fc1.bias, fc2.bias) if use_bias else ()
        return se(x, *values(fc1.kernel, fc2.kernel, *biases))

    check_equation(
        lambda **kwargs: SE(4, use_bias=use_bias, **kwargs),
        equation,
        (2, *size, 16),
        dtype,
    )


def test_weights_are_between_0_and_1():
    # Of 4 × 32 hidden units some are positive, whatever the kernels.
    x = np.random.default_rng(0).normal(size=(4, 2, 2, 64)).astype("float32")
    y = ops.convert_to_numpy(SE(reduction=2)(x)) / x
    assert 0 < y.min() < y.max() < 1


def test_the_published_number_of_parameters():
    layer = SE()
    layer.build((None, 14, 14, 1024))
    assert layer.count_params() == 2 * 1024**2 // 16
    layer = SE(use_bias=True)
    layer.build((None, 14, 14, 1024))
    assert layer.count_params() == 2 * 1024**2 // 16 + 64 + 1024


def test_arguments_and_training(check_contract):
    check_contract(SE, reduction=16, use_bias=False)
