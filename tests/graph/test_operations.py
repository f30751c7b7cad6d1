import keras
import pytest
from keras import layers

from keras_epsanet.graph.operations import (
    CONVENTIONS,
    calls_within,
    count_call,
    is_relu,
)


def count(layer, shape, argument="inputs"):
    """Counts of a call whose output is of the shape that Keras says."""
    layer.build(shape)
    output_shape = layer.compute_output_shape(shape)
    return count_call(layer, {argument: shape}, output_shape)


def test_conventions_of_the_two_tables():
    assert CONVENTIONS == {
        "table2": {"macs": 1, "normalized": 2},
        "table3": {
            "macs": 1,
            "biases": 1,
            "normalized": 2,
            "relus": 1,
            "pooled": 1,
        },
    }


# For a batch of 2; all by hand.
@pytest.mark.parametrize(
    "layer, shape, macs, outputs",
    [
        (layers.Conv1D(6, 3, groups=2), (2, 8, 4), 3 * 2, 2 * 6 * 6),
        (layers.Conv2D(4, (3, 5)), (2, 5, 6, 3), 45, 2 * 3 * 2 * 4),
        (layers.Conv3D(2, 2), (2, 3, 3, 3, 1), 8, 2 * 8 * 2),
        (layers.DepthwiseConv1D(3), (2, 8, 4), 3, 2 * 6 * 4),
        (layers.DepthwiseConv2D((3, 5)), (2, 5, 6, 3), 15, 2 * 3 * 2 * 3),
        (layers.Dense(5), (2, 7, 4), 4, 2 * 7 * 5),
    ],
    ids=lambda value: value.name if isinstance(value, layers.Layer) else "",
)
@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_linear_layers(layer, shape, macs, outputs, use_bias, activation):
    config = {**layer.get_config(), "use_bias": use_bias}
    layer = type(layer).from_config({**config, "activation": activation})
    assert count(layer, shape) == {
        "macs": outputs * macs,
        "biases": outputs if use_bias else 0,
        "relus": outputs if activation == "relu" else 0,
    }


@pytest.mark.parametrize(
    "layer, shape, macs",
    [
        (layers.Conv1DTranspose(5, 3), (2, 8, 4), 2 * 8 * 4 * 3 * 5),
        (
            layers.Conv2DTranspose(5, (2, 3), strides=2),
            (2, 4, 6, 3),
            2 * 4 * 6 * 3 * 2 * 3 * 5,
        ),
        (layers.Conv3DTranspose(5, 2), (1, 2, 3, 4, 6), 24 * 6 * 8 * 5),
        (
            layers.SeparableConv1D(5, 3, depth_multiplier=2),
            (2, 8, 4),
            2 * 6 * (8 * 3 + 8 * 5),
        ),
        (
            layers.SeparableConv2D(5, (2, 3), data_format="channels_first"),
            (2, 4, 6, 7),
            2 * 5 * 5 * (4 * 2 * 3 + 4 * 5),
        ),
    ],
    ids=lambda value: value.name if isinstance(value, layers.Layer) else "",
)
def test_layers_of_several_products(layer, shape, macs):
    assert count(layer, shape)["macs"] == macs


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("kind", ["Max", "Average"])
@pytest.mark.parametrize("form", ["", "Global", "Adaptive"])
def test_every_pooling_layer_counts_its_inputs(form, kind, dimensions):
    arguments = {"Adaptive": [2], "Global": [], "": [2]}[form]
    cls = getattr(layers, f"{form}{kind}Pooling{dimensions}D")
    shape = (2, *(4, 6, 8)[:dimensions], 3)
    elements = 2 * 4 * 3 * {1: 1, 2: 6, 3: 48}[dimensions]
    assert count(cls(*arguments), shape) == {"pooled": elements}


@pytest.mark.parametrize(
    "layer, relu",
    [
        (layers.ReLU(), True),
        (layers.LeakyReLU(), True),
        (layers.ELU(), True),
        (layers.PReLU(), True),
        (layers.Activation("relu"), True),
        (layers.Activation("relu6"), True),
        (layers.Activation("elu"), True),
        (layers.Activation("leaky_relu"), True),
        (layers.Activation(layers.ReLU(6.0)), True),
        (layers.Activation("gelu"), False),
        (layers.Activation("sigmoid"), False),
        (layers.Dense(1, activation="relu"), True),
        (layers.Dense(1), False),
        (layers.Softmax(), False),
    ],
)
def test_what_is_a_relu(layer, relu):
    assert is_relu(layer) == relu
    if not isinstance(layer, layers.Dense):
        counts = count(layer, (2, 3, 4))
        assert counts.get("relus", 0) == (24 if relu else 0)


@pytest.mark.parametrize(
    "layer",
    [
        layers.BatchNormalization(),
        layers.GroupNormalization(2),
        layers.LayerNormalization(),
        layers.RMSNormalization(),
        layers.UnitNormalization(),
    ],
    ids=lambda layer: layer.name,
)
def test_normalizations(layer):
    assert count(layer, (2, 3, 4)) == {"normalized": 2 * 3 * 4}


class Scale(layers.Layer):
    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],))

    def compute_output_shape(self, input_shape):
        return input_shape


class Counted(Scale):
    def count_operations(self, input_shape):
        self.received = input_shape
        return {"macs": 3, "relus": 2}


def test_a_layer_counts_one_image_of_the_batch():
    layer = Counted()
    assert count(layer, (5, 4)) == {"macs": 15, "relus": 10}
    assert layer.received == (5, 4)
    # Of a list of tensors too.
    shapes = {"inputs": [(5, 4), (5, 3)]}
    assert count_call(layer, shapes, (5, 4)) == {"macs": 15, "relus": 10}


@pytest.mark.parametrize(
    "layer, counts",
    [
        (layers.Flatten(), {}),
        (layers.Embedding(3, 4), {}),
        (layers.Normalization(), {}),
        (Scale(), None),
        (layers.Wrapper(layers.ReLU()), None),
        (keras.Sequential(), None),
    ],
    ids=lambda value: value.name if isinstance(value, layers.Layer) else "",
)
def test_weights_and_what_is_inside_are_not_known(layer, counts):
    if isinstance(layer, (Scale, layers.Normalization, layers.Embedding)):
        layer.build((2, 4))
    assert count_call(layer, {"inputs": (2, 4)}, (2, 4)) == counts


@pytest.mark.parametrize("shapes", [((2, None), (2, 4)), ((2, 4), (2, None))])
@pytest.mark.parametrize(
    "layer", [layers.Dense(4, name="some"), Counted(name="some")]
)
def test_open_sizes_are_refused(layer, shapes):
    with pytest.raises(ValueError, match="some cannot be .*Received: shapes="):
        count_call(layer, {"inputs": shapes[0]}, shapes[1])
    # Where there is nothing to count they do not matter.
    shapes = {"inputs": shapes[0]}, shapes[1]
    assert count_call(layers.Flatten(), *shapes) == {}


def test_calls_of_wrapped_layers():
    dense = layers.Dense(2)
    both = layers.Bidirectional(layers.LSTM(2))
    shape = (2, 5, 4)
    found = [
        calls_within(layer, {"inputs": shape})
        for layer in (
            layers.TimeDistributed(dense),
            both,
            layers.SpectralNormalization(dense),
            dense,
        )
    ]
    assert found == [
        [(dense, (10, 4))],
        [(both.forward_layer, shape), (both.backward_layer, shape)],
        [(dense, shape)],
        [],
    ]
