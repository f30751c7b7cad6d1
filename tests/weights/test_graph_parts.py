import logging

import keras
import numpy as np
import pytest

from keras_epsanet.layers import Bias
from keras_epsanet.weights.graph_parts import (
    first_outputs,
    normalization_behind,
    run_to_each,
)


def make_model():
    """Two dense layers with a shortcut over each of them."""
    image = keras.Input((4,))
    x = keras.layers.Dense(4, name="front")(image)
    for name in ("first", "second"):
        x = keras.layers.Add()([x, keras.layers.Dense(4, name=name)(x)])
    x = keras.layers.Concatenate()([x, image])
    return keras.Model(image, keras.layers.Dense(2)(x))


@pytest.fixture
def batches():
    generator = np.random.default_rng(0)
    return [generator.normal(size=(n, 4)).astype("float32") for n in (3, 2)]


def test_each_layer_comes_with_what_reaches_it(batches):
    model = make_model()
    layers = [model.get_layer("second"), model.get_layer("first")]
    found = list(run_to_each(model, layers, batches))
    assert [layer.name for layer, _ in found] == ["first", "second"]
    for layer, inputs in found:
        reference = keras.Model(model.input, layer.input)
        for batch, values in zip(batches, inputs, strict=True):
            np.testing.assert_allclose(
                values, reference.predict(batch, verbose=0), atol=1e-6
            )


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="TensorFlow's warning"
)
def test_many_parts_are_no_reason_to_warn(batches):
    warned = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warned.append(record.getMessage())
    logger = logging.getLogger("tensorflow")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        for _ in range(5):
            model = make_model()
            layers = [model.get_layer("first"), model.get_layer("second")]
            list(run_to_each(model, layers, batches))
        assert not warned and logger.level == logging.WARNING
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def test_later_layers_see_new_weights(batches):
    model = make_model()
    layers = [model.get_layer("first"), model.get_layer("second")]
    found = {}
    for layer, inputs in run_to_each(model, layers, batches):
        found[layer.name] = inputs[0]
        if layer.name == "first":
            layer.kernel.assign(layer.kernel * 3.0)
    reference = keras.Model(model.input, layers[1].input)
    np.testing.assert_allclose(
        found["second"], reference.predict(batches[0], verbose=0), atol=1e-5
    )


def test_what_is_in_front_is_run_once(batches):
    calls = []

    class Noting(keras.layers.Layer):
        def call(self, inputs):
            calls.append(1)
            return inputs

    image = keras.Input((4,))
    x = Noting()(image)
    for name in ("first", "second", "third"):
        x = keras.layers.Dense(4, name=name)(x)
    model = keras.Model(image, x)
    calls.clear()
    layers = [model.get_layer(name) for name in ("first", "second", "third")]
    found = list(run_to_each(model, layers, batches[:1]))
    # By PyTorch once for the batch, by the others in their traces.
    assert len(found) == 3 and 1 <= len(calls) <= 3


def test_no_node_is_added_to_a_layer(batches):
    model = make_model()
    before = [len(layer._inbound_nodes) for layer in model.layers]
    list(run_to_each(model, [model.get_layer("second")], batches))
    assert [len(layer._inbound_nodes) for layer in model.layers] == before


def test_outputs_are_those_in_the_graph_of_the_model():
    layer = keras.layers.Dense(4)
    models = []
    for _ in range(2):
        image = keras.Input((4,))
        models.append(keras.Model(image, layer(image)))
    for model in models:
        (output,) = first_outputs(model, [layer])
        assert output is model.output


@pytest.mark.parametrize("between, found", [(None, 1), (Bias, 1), ("relu", 0)])
def test_the_normalization_behind_a_layer_is_found(between, found):
    image = keras.Input((8, 8, 4))
    layer = keras.layers.Conv2D(4, 3)
    x = layer(image)
    if between == "relu":
        x = keras.layers.ReLU()(x)
    elif between:
        bias = between()
        x = bias(x)
    norm = keras.layers.BatchNormalization()
    model = keras.Model(image, norm(x))
    expected = (bias if between is Bias else None, norm)
    assert normalization_behind(model, layer) == (
        expected if found else (None, None)
    )


def test_a_normalization_that_is_called_twice_is_not_found():
    image = keras.Input((8, 8, 4))
    layers = [keras.layers.Conv2D(4, 3) for _ in range(2)]
    norm = keras.layers.BatchNormalization()
    x = keras.layers.Add()([norm(layer(image)) for layer in layers])
    model = keras.Model(image, x)
    assert normalization_behind(model, layers[0]) == (None, None)


def test_a_normalization_behind_two_biases_is_not_found():
    image = keras.Input((8, 8, 4))
    conv = keras.layers.Conv2D(4, 3)
    x = Bias()(Bias()(conv(image)))
    model = keras.Model(image, keras.layers.BatchNormalization()(x))
    assert normalization_behind(model, conv) == (None, None)


def test_a_normalization_of_one_of_several_users_is_not_found():
    image = keras.Input((4,))
    layer = keras.layers.Dense(4)
    x = layer(image)
    y = keras.layers.BatchNormalization()(x)
    model = keras.Model(image, keras.layers.Add()([x, y]))
    assert normalization_behind(model, layer) == (None, None)
