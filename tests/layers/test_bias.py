import keras
import numpy as np
import pytest

from keras_epsanet import complexity
from keras_epsanet.layers import Bias

X = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype("float32")


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_each_channel_gets_its_number(data_format):
    layer = Bias(data_format)
    layer.build(X.shape)
    bias = np.arange(1.0, layer.bias.shape[0] + 1)
    layer.bias.assign(bias)
    if data_format == "channels_first":
        bias = bias[:, None, None]
    outputs = keras.ops.convert_to_numpy(layer(X))
    np.testing.assert_allclose(outputs, X + bias, rtol=1e-6)


def test_it_is_counted_as_the_bias_of_a_convolution_is():
    image = keras.Input((6, 5, 4))
    inside = keras.layers.Conv2D(3, 1)(image)
    behind = Bias()(keras.layers.Conv2D(3, 1, use_bias=False)(image))
    counts = [
        complexity(keras.Model(image, x), convention="table3")
        for x in (inside, behind)
    ]
    assert counts[0].flops == counts[1].flops
    assert counts[0].parameters == counts[1].parameters
    assert not counts[1].uncounted


def test_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="Received: data_format='channels"):
        Bias("channels")
    with pytest.raises(ValueError, match="must be known. Received: input_sh"):
        Bias().build((None, 3, 3, None))


def test_initializer_regularizer_and_constraint_are_those_of_the_bias():
    layer = Bias(
        bias_initializer=keras.initializers.Constant(3),
        bias_regularizer=keras.regularizers.L1(0.5),
        bias_constraint=keras.constraints.MaxNorm(2),
    )
    layer.build(X.shape)
    (loss,) = layer.losses
    assert float(loss) == 0.5 * 3 * X.shape[-1]
    assert layer.bias.constraint.max_value == 2


def test_arguments_reach_the_config_and_the_weight():
    given = {
        "data_format": "channels_first",
        "bias_initializer": "ones",
        "bias_regularizer": "l2",
        "bias_constraint": "non_neg",
    }
    copy = Bias.from_config(Bias(**given).get_config())
    copy.build((None, 3, 8, 9))
    assert copy.data_format == "channels_first" and copy.bias.shape == (3,)
    assert copy.bias.regularizer and copy.bias.constraint
    assert keras.ops.convert_to_numpy(copy.bias).tolist() == [1, 1, 1]
