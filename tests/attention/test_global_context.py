import numpy as np
from equations import gc, values
from keras import ops

from keras_epsanet.attention import GlobalContext


def test_equation(check_equation, size, dtype):
    def equation(x, layer):
        mask, mask_bias, *others = values(
            layer.mask_conv.kernel,
            layer.mask_conv.bias,
            layer.fc1.kernel,
            layer.fc1.bias,
            layer.norm.gamma,
            layer.norm.beta,
            layer.fc2.kernel,
            layer.fc2.bias,
        )
        return gc(x, mask[0, 0], mask_bias, *others)

    check_equation(
        lambda **kwargs: GlobalContext(4, **kwargs),
        equation,
        (2, *size, 16),
        dtype,
    )


def test_starts_as_the_identity():
    x = np.random.default_rng(0).standard_normal((2, 5, 6, 64))
    x = x.astype("float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(GlobalContext()(x)), x)


def test_initial_values_are_those_of_the_published_code():
    layer = GlobalContext(reduction=4)
    layer.build((None, 8, 8, 1024))
    np.testing.assert_allclose(
        np.var(layer.mask_conv.kernel.numpy()), 2 / 1024, rtol=0.2
    )
    assert not layer.mask_conv.bias.numpy().any()
    bound = 1024**-0.5
    for values_ in (layer.fc1.kernel.numpy(), layer.fc1.bias.numpy()):
        assert 0.95 * bound < np.abs(values_).max() <= bound
    assert not layer.fc2.kernel.numpy().any()
    assert not layer.fc2.bias.numpy().any()


def test_the_published_number_of_parameters():
    layer = GlobalContext()
    layer.build((None, 14, 14, 1024))
    expected = 2 * 1024**2 // 16 + 2 * 1024 + 3 * 1024 // 16 + 1
    assert layer.count_params() == expected


def test_arguments_and_training(check_contract):
    check_contract(GlobalContext, reduction=16)
