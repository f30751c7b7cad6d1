import numpy as np
from equations import position_attention, values

from keras_epsanet.attention import PositionAttention


def test_equation(check_equation, size, dtype):
    def equation(x, layer):
        weights = []
        for conv in (layer.query_conv, layer.key_conv, layer.value_conv):
            kernel, bias = values(conv.kernel, conv.bias)
            weights += [kernel[0, 0], bias]
        return position_attention(x, *weights, *values(layer.gamma))

    check_equation(
        lambda **kwargs: PositionAttention(4, **kwargs),
        equation,
        (2, *size, 16),
        dtype,
    )


def test_parameters_are_those_of_the_docstring():
    layer = PositionAttention()
    layer.build((None, 14, 14, 512))
    assert layer.count_params() == 1.25 * 512**2 + 1.25 * 512 + 1
    assert not np.any(values(layer.gamma))


def test_arguments_and_training(check_contract):
    check_contract(PositionAttention, reduction=8)
