import warnings

import numpy as np
from equations import ema, values
from keras import ops

from keras_epsanet.attention import EMA


def equation(x, layer):
    weights = (layer.fc.kernel, layer.fc.bias)
    weights += (layer.conv.kernel, layer.conv.bias, layer.gamma, layer.beta)
    return ema(x, *values(*weights), groups=layer.groups)


def test_equation(check_equation, size, dtype):
    check_equation(
        lambda **kwargs: EMA(4, **kwargs), equation, (2, *size, 24), dtype
    )


def test_groups_of_one_channel(draw_weights):
    layer = EMA(4, data_format="channels_last")
    x = np.random.default_rng(0).standard_normal((2, 5, 6, 4))
    layer.build(x.shape)
    draw_weights(layer)
    with warnings.catch_warnings(record=True) as caught:
        y = ops.convert_to_numpy(layer(x.astype("float32")))
    assert not [w for w in caught if "softmax" in str(w.message)]
    np.testing.assert_allclose(y, equation(x, layer), atol=1e-5)


def test_initial_values_are_those_of_the_published_code():
    layer = EMA(2)
    layer.build((None, 4, 4, 128))
    for part, inputs in ((layer.fc, 64), (layer.conv, 9 * 64)):
        bound = inputs**-0.5
        for weight in values(part.kernel, part.bias):
            assert 0.9 * bound < np.abs(weight).max() <= bound


def test_parameters_are_those_of_one_group():
    layer = EMA(4)
    layer.build((None, 4, 4, 64))
    assert layer.count_params() == 10 * 16**2 + 4 * 16


def test_arguments_and_training(check_contract):
    check_contract(EMA, groups=32)
