import keras
import numpy as np
import pytest
from keras import layers

from keras_epsanet import fuse
from keras_epsanet.graph.copies import config_without_lora, copy_layer
from keras_epsanet.layers import PSA, BatchNormalization, GroupedConv2D

TENSORFLOW = keras.backend.backend() == "tensorflow"
RANDOM = np.random.default_rng(0)
ROWS = RANDOM.standard_normal((4, 6)).astype("float32") * 3 + 1
SERIES = RANDOM.standard_normal((2, 5, 8)).astype("float32")
IMAGES = RANDOM.standard_normal((2, 6, 6, 8)).astype("float32")
WORDS = np.array([["one", "two"], ["six", "one"]])
TEXTS = np.array(["one two", "six one"])
IDS = np.array([[1, 5], [7, 1]])


def model_of(layer, x, dtype=None):
    inputs = keras.Input(x.shape[1:], dtype=dtype or x.dtype)
    return keras.Model(inputs, layer(inputs))


def outputs_of(model, x):
    if x.dtype.kind == "U":
        import tensorflow as tf

        x = tf.constant(x)
    outputs = keras.tree.flatten(model(x))
    return [keras.ops.convert_to_numpy(y) for y in outputs]


def assert_fused_is_equal(model, x):
    """Returns the fused model."""
    fused = fuse(model)
    expected = outputs_of(model, x)
    for y, y0 in zip(outputs_of(fused, x), expected, strict=True):
        np.testing.assert_allclose(y, y0, rtol=0, atol=1e-5)
    return fused


def add_lora(model, *hosts):
    """Lets LoRA, whose second factor starts at zero, change layers."""
    for host in hosts:
        host.enable_lora(2, lora_alpha=1)
    for weight in model.weights:
        if "lora" in weight.name:
            weight.assign(RANDOM.standard_normal(weight.shape))


def adapted(make, data, **arguments):
    layer = make(**arguments)
    layer.adapt(data)
    return layer


@pytest.mark.parametrize(
    "make, arguments",
    [
        (layers.Normalization, {}),
        (layers.Normalization, {"invert": True}),
        (layers.Discretization, {"num_bins": 3}),
    ],
)
def test_numbers_learned_by_adapt(make, arguments):
    model = model_of(adapted(make, ROWS, **arguments), ROWS)
    assert_fused_is_equal(model, ROWS)
    assert_fused_is_equal(model_of(model, ROWS), ROWS)


@pytest.mark.skipif(not TENSORFLOW, reason="its tables are TensorFlow's")
@pytest.mark.parametrize(
    "make, data, arguments",
    [
        (layers.StringLookup, WORDS, {}),
        (layers.StringLookup, WORDS, {"output_mode": "tf_idf"}),
        (layers.IntegerLookup, IDS, {}),
        (layers.TextVectorization, TEXTS, {"output_sequence_length": 3}),
    ],
)
def test_words_learned_by_adapt(make, data, arguments):
    layer = adapted(make, data, **arguments)
    dtype = "int64" if data is IDS else "string"
    model = model_of(layer, data, dtype)
    assert len(np.unique(outputs_of(model, data)[0])) > 2
    assert_fused_is_equal(model, data)


def quantized(model, mode):
    model.quantize(mode)
    return model


def modes_of(model):
    """Names of the quantized layers and how they are quantized."""
    return {
        (layer.name, layer.quantization_mode)
        for layer in model._flatten_layers()
        if layer.quantization_mode
    }


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
@pytest.mark.parametrize(
    "mode, make, x",
    [
        ("int8", lambda: layers.Dense(4), SERIES),
        ("int4", lambda: layers.Dense(4), SERIES),
        ("float8", lambda: layers.Dense(4), SERIES),
        ("int8", lambda: layers.Embedding(9, 4), IDS),
        ("int8", lambda: layers.EinsumDense("abc,cd->abd", (5, 4)), SERIES),
        ("int8", lambda: layers.TimeDistributed(layers.Dense(4)), SERIES),
        ("int8", lambda: PSA(8, (3, 5), (1, 4), reduction=2), IMAGES),
    ],
    ids=["int8", "int4", "float8", "embedding", "einsum", "timed", "psa"],
)
def test_quantized_layers(make, x, mode, randomize):
    model = quantized(randomize(model_of(make(), x)), mode)
    fused = assert_fused_is_equal(model, x)
    assert modes_of(fused) == modes_of(model) != set()


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
def test_quantized_psa_with_its_norm(randomize):
    inputs = keras.Input(IMAGES.shape[1:])
    x = PSA(8, (3, 5), (1, 4), reduction=2)(inputs)
    model = keras.Model(inputs, layers.BatchNormalization()(x))
    quantized(randomize(model), "int8")
    fused = fuse(model)
    assert len(fused.layers) == 2
    assert modes_of(fused) == modes_of(model) != set()
    expected, y = outputs_of(model, IMAGES)[0], outputs_of(fused, IMAGES)[0]
    # What is rounded to int8 may differ by 1 after other rounding errors.
    np.testing.assert_allclose(y, expected, atol=0.02 * np.abs(expected).max())


@pytest.mark.parametrize("with_norm", [False, True])
@pytest.mark.parametrize(
    "make, x",
    [
        (lambda: layers.Dense(4), SERIES),
        (lambda: layers.EinsumDense("abc,cd->abd", (None, 4)), SERIES),
        (lambda: layers.Conv2D(4, 3), IMAGES),
        (lambda: GroupedConv2D(4, 3), IMAGES),
        (lambda: layers.Embedding(9, 4), IDS),
    ],
    ids=["dense", "einsum", "conv", "grouped_conv", "embedding"],
)
def test_lora_is_merged(make, x, with_norm, randomize):
    inputs, layer = keras.Input(x.shape[1:]), make()
    y = layer(inputs)
    model = keras.Model(inputs, BatchNormalization()(y) if with_norm else y)
    add_lora(randomize(model), layer)
    fused = assert_fused_is_equal(model, x)
    assert not [w.name for w in fused.weights if "lora" in w.name]


def test_lora_of_layers_in_layers(randomize):
    inputs = keras.Input(IMAGES.shape[1:])
    psa = PSA(8, (3, 5), (1, 4), reduction=2)
    dense = layers.Dense(4)
    x = layers.BatchNormalization()(psa(inputs))
    x = layers.TimeDistributed(dense)(x)
    model = randomize(keras.Model(inputs, x))
    add_lora(model, dense, psa.spc.convolutions[0], psa.se.fc1)
    assert_fused_is_equal(model, IMAGES)


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_lora_on_a_quantized_layer_is_not_rounded_again(mode, randomize):
    dense, inner = layers.Dense(4), layers.Dense(4)
    inputs = keras.Input(SERIES.shape[1:])
    x = layers.BatchNormalization()(dense(inputs))
    model = keras.Model(inputs, layers.TimeDistributed(inner)(x))
    quantized(randomize(model), mode)
    add_lora(model, dense, inner)
    assert_fused_is_equal(model, SERIES)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Bidirectional(layers.LSTM(3)),
        lambda: layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)]),
        lambda: layers.SpectralNormalization(layers.Dense(3)),
        lambda: layers.TimeDistributed(
            keras.Sequential([layers.Dense(3), layers.BatchNormalization()])
        ),
        lambda: layers.Lambda(lambda x: 2 * np.pi * x),
        lambda: layers.Lambda(lambda x, by: by * x, arguments={"by": 3.0}),
    ],
    ids=["bidirectional", "rnn", "spectral", "model", "lambda", "arguments"],
)
def test_layers_that_hold_others(make, randomize):
    assert_fused_is_equal(randomize(model_of(make(), SERIES)), SERIES)


def test_attention_keeps_its_weights(randomize):
    inputs = keras.Input(SERIES.shape[1:])
    x = layers.MultiHeadAttention(2, 4)(inputs, inputs, key=2 * inputs)
    assert_fused_is_equal(randomize(keras.Model(inputs, x)), SERIES)


def test_a_lambda_keeps_all_its_arguments():
    layer = layers.Lambda(
        lambda x, by: by * x,
        output_shape=(6,),
        mask=lambda x, mask=None: mask,
        arguments={"by": 3.0},
        name="some",
        dtype="float64",
        trainable=False,
    )
    copy = copy_layer(layer)
    for name in ("function", "_output_shape", "mask", "arguments", "name"):
        assert getattr(copy, name) == getattr(layer, name), name
    assert copy.dtype_policy.name == "float64" and not copy.trainable


def test_lora_leaves_the_configuration_and_nothing_else_does():
    psa = PSA(8, (3, 5), (1, 4), reduction=2)
    psa.build(IMAGES.shape)
    psa.se.fc1.trainable = False
    psa.se.fc2.enable_lora(2, lora_alpha=5)
    dense = layers.Dense(4)
    dense.build((None, 8))
    plain = dense.get_config()
    assert config_without_lora(dense) == plain
    dense.enable_lora(2, lora_alpha=5)
    assert config_without_lora(dense) == plain
    config = config_without_lora(psa)
    assert "lora" not in str(config)
    se = PSA.from_config(config).se.get_config()
    assert se["sublayers"]["fc1"] == {"trainable": False}


class Holder(layers.Layer):
    """A layer whose configuration does not tell of the one it holds."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(4)

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, inputs):
        return self.dense(inputs)


@pytest.mark.parametrize("make", [Holder, layers.TimeDistributed])
def test_how_a_layer_in_another_is_quantized_is_copied(make):
    holder = Holder() if make is Holder else make(layers.Dense(4))
    model = model_of(holder, SERIES)
    config = keras.quantizers.Int4QuantizationConfig(block_size=4)
    (dense,) = holder._flatten_layers(include_self=False)
    dense.quantize("int4", config=config)
    fused = assert_fused_is_equal(model, SERIES)
    (copy,) = fused.layers[-1]._flatten_layers(include_self=False)
    assert copy.dtype_policy.name == "int4/4_from_float32"


class Noise(layers.Layer):
    """Noise in inference too, from a generator that counts its calls."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1)

    def call(self, inputs):
        shape = keras.ops.shape(inputs)
        return inputs + keras.random.normal(shape, seed=self.seed_generator)


def test_random_layers_go_on_where_they_were():
    model = model_of(Noise(), ROWS)
    model(ROWS)
    assert_fused_is_equal(model, ROWS)


class Negative(keras.Model):
    """Functional model that does more than its graph says."""

    def call(self, inputs, training=None):
        return -super().call(inputs, training=training)


class Subclassed(keras.Model):
    """Model without a graph, built by its first call."""

    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(units)
        self.norm = layers.BatchNormalization()

    def call(self, inputs):
        return self.norm(self.dense(inputs))

    def get_config(self):
        return {"units": self.dense.units, "name": self.name}


def test_models_with_a_call_of_their_own_stay_as_they_are(randomize):
    inputs = keras.Input((6,))
    normed = layers.BatchNormalization()(layers.Dense(3)(inputs))
    for inner in (Negative(inputs, normed), Subclassed(4)):
        model = randomize(model_of(inner, ROWS))
        fused = assert_fused_is_equal(model, ROWS)
        assert type(fused.layers[-1]) is type(inner)


class Unsaveable(layers.Layer):
    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)

    def call(self, inputs):
        return inputs


class Growing(layers.Dense):
    """A layer that its configuration does not describe."""

    def __init__(self, units=1, **kwargs):
        super().__init__(units, **kwargs)

    def get_config(self):
        return {**super().get_config(), "units": 1}


@pytest.mark.parametrize(
    "layer", [Unsaveable(object(), name="mine"), Growing(2, name="mine")]
)
def test_what_cannot_be_copied_is_named(layer):
    with pytest.raises(ValueError, match="(?s)ayer mine cannot be copied.*Rec"):
        fuse(model_of(layer, ROWS))
