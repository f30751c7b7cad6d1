import numpy as np
import pytest
from equations import relu, values
from keras import ops

from keras_epsanet.attention.channel_mlp import ChannelMLP


@pytest.mark.parametrize("use_bias", [False, True])
def test_two_stages_with_a_relu_between(draw_weights, use_bias):
    layer = ChannelMLP(4, use_bias=use_bias)
    layer.build((None, 16))
    weights = values(*draw_weights(layer).weights)
    w1, b1, w2, b2 = weights if use_bias else (weights[0], 0, weights[1], 0)
    x = np.random.default_rng(0).standard_normal((3, 16))
    result = ops.convert_to_numpy(layer(x.astype("float32")))
    np.testing.assert_allclose(result, relu(x @ w1 + b1) @ w2 + b2, atol=1e-5)
    assert layer.compute_output_shape((3, 16)) == (3, 16)


def test_initial_biases():
    layer = ChannelMLP(4, use_bias=True)
    layer.build((None, 64))
    assert all(
        np.ptp(values(stage.bias)) > 0 for stage in (layer.fc1, layer.fc2)
    )
    layer = ChannelMLP(4, use_bias=True, zero_bias=True)
    layer.build((None, 64))
    for stage in (layer.fc1, layer.fc2):
        assert not np.any(values(stage.bias))


def test_operations_by_hand():
    layer = ChannelMLP(4, use_bias=True)
    layer.build((None, 16))
    assert layer.count_operations((1, 16)) == {
        "macs": 16 * 4 + 4 * 16,
        "biases": 4 + 16,
        "relus": 4,
    }


def test_arguments_survive():
    arguments = {"reduction": 2, "use_bias": True, "zero_bias": True}
    config = ChannelMLP(**arguments).get_config()
    assert config == ChannelMLP.from_config(config).get_config()
    assert arguments.items() <= config.items()
