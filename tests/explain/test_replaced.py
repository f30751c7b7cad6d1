import keras
import numpy as np
import pytest

from keras_epsanet.explain.replaced import observed, replaced


def test_attributes_come_back_after_an_error():
    layer = keras.layers.Dense(1, activation="relu")
    before = set(vars(layer))
    with pytest.raises(RuntimeError):
        with (
            replaced(layer, "activation", None),
            replaced(layer, "call", None),
        ):
            assert layer.activation is None and layer.call is None
            raise RuntimeError
    assert layer.activation is keras.activations.relu
    assert set(vars(layer)) == before and callable(layer.call)


def test_a_layer_is_observed_within_a_model_in_a_model():
    layer = keras.layers.Rescaling(2.0)
    inner = keras.Sequential([keras.Input((1,)), layer])
    model = keras.Sequential([keras.Input((1,)), inner])
    seen = []

    def note(x):
        seen.append(keras.ops.convert_to_numpy(x))
        return x + 1

    with observed(layer, note):
        (found,) = keras.ops.convert_to_numpy(model(np.array([[3.0]])))
    assert found == 7 and seen[0] == 6
    (after,) = keras.ops.convert_to_numpy(model(np.array([[3.0]])))
    assert after == 6


def test_a_quantized_layer_is_observed():
    if keras.backend.backend() == "torch":
        pytest.skip("Keras quantizes no layer for PyTorch on a CPU here")
    layer = keras.layers.Dense(2)
    layer.build((None, 4))
    layer.quantize("int8")
    with observed(layer, lambda x: 0 * x):
        found = keras.ops.convert_to_numpy(layer(np.ones((1, 4))))
    assert (found == 0).all()
