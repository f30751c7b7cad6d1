import numpy as np
from equations import srm, values
from keras import ops

from keras_epsanet.attention import SRM


def test_equation(check_equation, size, dtype):
    check_equation(
        SRM,
        lambda x, layer: srm(x, *values(layer.style_weight, layer.norm)),
        (2, *size, 16),
        dtype,
    )


def test_all_weights_start_at_one_half():
    x = np.random.default_rng(0).standard_normal((2, 5, 6, 16))
    y = ops.convert_to_numpy(SRM(dtype="float64")(x))
    np.testing.assert_allclose(y, x / 2, rtol=1e-12)
    layer = SRM()
    layer.build((None, 4, 4, 8))
    assert layer.norm.momentum == 0.9


def test_a_single_pixel_has_no_deviation():
    layer = SRM(dtype="float64")
    x = np.full((1, 1, 1, 1), 2.0)
    layer.build(x.shape)
    layer.style_weight.assign([[0.0, 1.0]])
    weight = 1 / (1 + np.exp(-np.sqrt(1e-5) / np.sqrt(1 + 1e-5)))
    np.testing.assert_allclose(float(layer(x)[0, 0, 0, 0]), 2 * weight)


def test_the_published_number_of_parameters():
    layer = SRM()
    layer.build((None, 14, 14, 1024))
    sizes = [np.prod(weight.shape) for weight in layer.trainable_weights]
    assert sum(sizes) == 4 * 1024


def test_arguments_and_training(check_contract):
    check_contract(SRM)
