import numpy as np
import pytest
from equations import gsop, values

from keras_epsanet.attention import GSoP


@pytest.mark.parametrize("strides", [1, 2])
def test_equation(check_equation, size, dtype, strides):
    def equation(x, layer):
        reduce_conv, rows, fc = layer.reduce_conv, layer.rows, layer.fc
        w1, b1 = values(reduce_conv.kernel, reduce_conv.bias)
        norms = values(layer.norm, layer.norm_rows)
        others = values(rows.kernel, rows.bias, fc.kernel, fc.bias)
        return gsop(x, w1[0, 0], b1, *norms, *others, strides)

    check_equation(
        lambda **kwargs: GSoP(6, strides, **kwargs),
        equation,
        (2, *size, 16),
        dtype,
    )


def test_initial_values_are_those_of_the_published_code():
    layer = GSoP()
    layer.build((None, 14, 14, 1024))
    deviations = {
        layer.reduce_conv: (2 / 128) ** 0.5,
        layer.rows: (2 / (512 * 128)) ** 0.5,
        layer.fc: (2 / 1024) ** 0.5,
    }
    for sublayer, deviation in deviations.items():
        kernel, bias = values(sublayer.kernel, sublayer.bias)
        np.testing.assert_allclose(kernel.std(), deviation, rtol=0.02)
        assert not bias.any()


def test_parameters_are_those_of_the_docstring():
    layer = GSoP()
    layer.build((None, 14, 14, 1024))
    trainable = sum(np.prod(w.shape) for w in layer.trainable_weights)
    c, d = 1024, 128
    assert trainable == 5 * c * d + 4 * d**2 + c + 9 * d


def test_arguments_and_training(check_contract):
    check_contract(GSoP, filters=128, strides=1)
