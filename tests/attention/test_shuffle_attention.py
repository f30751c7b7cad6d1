import numpy as np
import pytest
from equations import sa, values
from keras import ops

from keras_epsanet.attention import ShuffleAttention


def test_equation(check_equation, size, dtype):
    def equation(x, layer):
        weights = values(
            layer.channel_weight,
            layer.channel_bias,
            layer.spatial_weight,
            layer.spatial_bias,
            layer.gamma,
            layer.beta,
        )
        return sa(x, *weights, groups=4)

    check_equation(
        lambda **kwargs: ShuffleAttention(4, **kwargs),
        equation,
        (2, *size, 24),
        dtype,
    )


def test_all_gates_start_at_the_same():
    x = np.random.default_rng(0).standard_normal((2, 5, 6, 16))
    y = ops.convert_to_numpy(ShuffleAttention(4, dtype="float64")(x))
    order = np.arange(16).reshape(2, 8).T.ravel()
    np.testing.assert_allclose(y, x[..., order] / (1 + np.exp(-1)), rtol=1e-12)
    assert round(1 / (1 + np.exp(-1)), 3) == 0.731


def test_the_published_number_of_parameters():
    layer = ShuffleAttention()
    layer.build((None, 14, 14, 1024))
    assert layer.count_params() == 3 * 1024 // 64


def test_groups_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="divide .* 192. Received: groups=64"):
        ShuffleAttention().build((None, 4, 4, 192))


def test_arguments_and_training(check_contract):
    check_contract(ShuffleAttention, groups=64)
