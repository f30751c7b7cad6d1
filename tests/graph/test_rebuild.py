import keras
import numpy as np
import pytest
from keras import layers

from keras_epsanet import replace_convolutions
from keras_epsanet.layers import PSA

RANDOM = np.random.default_rng(0)
# All groups see all channels: one scale can then hold the convolution.
WHOLE = {"groups": (1, 1, 1, 1), "inherit": False, "verbose": 0}


def images(*shape):
    return RANDOM.standard_normal(shape).astype("float32")


def array(tensor):
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


def conv(filters=64, size=3, padding="same", **kwargs):
    return layers.Conv2D(filters, size, padding=padding, **kwargs)


def layers_by_name(model):
    return {layer.name: layer for layer in model._flatten_layers()}


def test_a_padding_that_nothing_else_needs_is_left_out(
    randomize, embed, assert_same_calls
):
    image = keras.Input((6, 7, 8))
    x = layers.ZeroPadding2D(1, name="for_both")(image)
    x = layers.Add()([conv(padding="valid")(x), conv(padding="valid")(x)])
    x = layers.ZeroPadding2D(1, name="for_others")(x)
    y = conv(padding="valid")(x)
    x = layers.MaxPooling2D(3, 1)(x)
    model = randomize(keras.Model(image, layers.Add()([x, y])))
    new = embed(replace_convolutions(model, **WHOLE), model)
    names = {layer.name for layer in new.layers}
    assert "for_both" not in names and "for_others" in names
    assert_same_calls(new, model, images(2, 6, 7, 8))


def test_a_shared_convolution_is_one_shared_layer(
    randomize, embed, assert_same_calls
):
    shared = conv(name="shared", activation="tanh")
    inputs = [keras.Input((6, 6, 64), name=name) for name in "ab"]
    outputs = shared(shared(inputs[0])), shared(inputs=inputs[1])
    model = randomize(keras.Model(inputs, outputs))
    new = embed(replace_convolutions(model, **WHOLE), model)
    kinds = sorted(type(layer).__name__ for layer in new.layers)
    assert kinds == ["Activation", "Bias", "InputLayer", "InputLayer", "PSA"]
    assert [x.name for x in new.inputs] == ["a", "b"]
    x = [images(2, 6, 6, 64), images(2, 6, 6, 64)]
    assert_same_calls(new, model, x)


def test_inputs_by_name(randomize, embed, assert_same_calls):
    inputs = {name: keras.Input((6, 6, 8), name=name) for name in "ab"}
    x = conv()(layers.Subtract()([inputs["b"], inputs["a"]]))
    model = randomize(keras.Model(inputs, x))
    new = embed(replace_convolutions(model, **WHOLE), model)
    x = {"a": images(2, 6, 6, 8), "b": images(2, 6, 6, 8)}
    assert_same_calls(new, model, x)


@keras.saving.register_keras_serializable("tests")
class Backbone(keras.Model):
    """Builds a network of its own, as KerasHub's do."""

    def __init__(self, filters=64, **kwargs):
        image = keras.Input((6, 6, 8), name="image")
        x = conv(filters, name=f"conv_{filters}")(image)
        super().__init__(image, x, **kwargs)
        self.filters = filters

    def get_config(self):
        return {"filters": self.filters, "name": self.name}


def test_models_in_models(randomize, embed, assert_same_calls, tmp_path):
    image = keras.Input((6, 6, 8))
    wide, narrow = Backbone(64, name="wide"), Backbone(8, name="narrow")
    block = keras.Sequential([keras.Input((6, 6, 8)), conv(name="conv")])
    y = layers.Add()([block(image), block(image), wide(narrow(image))])
    model = keras.Sequential([image, keras.Model(image, y), conv(name="last")])
    randomize(model)
    new = embed(replace_convolutions(model, **WHOLE), model)
    x = images(2, 6, 6, 8)
    assert_same_calls(new, model, x)
    found = {x.name for x in new._flatten_layers() if isinstance(x, PSA)}
    assert found == {"conv", "conv_64", "last"}
    copies = layers_by_name(new)
    assert type(copies["narrow"]) is Backbone
    assert copies["wide"].get_layer("conv_64_bias")
    new.save(tmp_path / "new.keras")
    reloaded = keras.saving.load_model(tmp_path / "new.keras")
    assert_same_calls(reloaded, new, x)


def test_inputs_keep_names_that_nobody_gave():
    image = keras.Input((6, 6, 16))
    model = keras.Model(image, conv()(image))
    new = replace_convolutions(model, inherit=False, verbose=0)
    assert new.layers[0].name == model.layers[0].name


def test_models_may_share_layers(randomize, embed, assert_same_calls):
    small, image = keras.Input((6, 6, 64)), keras.Input((6, 6, 64))
    shared, plain = conv(name="shared"), layers.Dense(64, name="plain")
    inner = keras.Model(small, plain(shared(small)), name="inner")
    model = keras.Model(image, shared(plain(inner(image))))
    randomize(model)
    new = embed(replace_convolutions(model, **WHOLE), model)
    assert_same_calls(new, model, images(2, 6, 6, 64))
    for name in ("shared", "shared_bias", "plain"):
        assert new.get_layer(name) is new.get_layer("inner").get_layer(name)


def test_what_is_trainable_and_regularized():
    image = keras.Input((6, 6, 16))
    x = conv(
        name="frozen",
        trainable=False,
        kernel_regularizer=keras.regularizers.L2(0.5),
        bias_regularizer=keras.regularizers.L1(0.25),
        kernel_constraint="non_neg",
    )(image)
    x = conv(name="active", activity_regularizer="l2", activation="relu")(x)
    x = conv(name="plain", activity_regularizer="l1", use_bias=False)(x)
    small = keras.Input((6, 6, 64))
    inner = keras.Model(small, conv(name="inner_conv")(small), name="inner")
    inner.trainable = False
    series = layers.Bidirectional(layers.GRU(2), name="series")
    model = keras.Model(image, series(layers.Reshape((36, 64))(inner(x))))
    series.forward_layer.trainable = False
    new = replace_convolutions(model, inherit=False, verbose=0)
    frozen = new.get_layer("frozen")
    assert not frozen.trainable and not frozen.spc.convolutions[1].trainable
    assert not new.get_layer("frozen_bias").trainable
    assert isinstance(frozen.kernel_regularizer, keras.regularizers.L2)
    assert frozen.kernel_constraint is not None
    assert new.get_layer("frozen_bias").bias_regularizer.l1 == 0.25
    assert new.get_layer("active").activity_regularizer is None
    assert new.get_layer("active_bias").activity_regularizer is None
    last = new.get_layer("active_activation")
    assert isinstance(last.activity_regularizer, keras.regularizers.L2)
    plain = new.get_layer("plain").activity_regularizer
    assert isinstance(plain, keras.regularizers.L1)
    copies = layers_by_name(new)
    assert not copies["inner"].trainable
    assert not copies["inner_conv"].trainable
    assert not copies["series"].forward_layer.trainable
    assert copies["series"].backward_layer.trainable


def test_state_that_is_not_in_weights():
    image = keras.Input((6, 6, 16))
    x = layers.GaussianNoise(1.0, name="noise")(layers.Rescaling(2.0)(image))
    x = layers.Normalization(name="normalization")(x)
    model = keras.Model(image, conv()(x))
    model.get_layer("normalization").adapt(3 + images(20, 6, 6, 16))
    model(images(1, 6, 6, 16), training=True)
    new = replace_convolutions(model, inherit=False, verbose=0)
    ends = [
        keras.Model(m.input, m.get_layer("normalization").output)
        for m in (new, model)
    ]
    x = images(1, 6, 6, 16)
    noisy, expected = (array(end(x, training=True)) for end in ends)
    np.testing.assert_array_equal(noisy, expected)


@pytest.mark.parametrize("activation", ["softmax", layers.ReLU(0.1)])
def test_activations(randomize, activation, embed, assert_same_calls):
    image = keras.Input((6, 6, 8))
    x = conv(name="c", activation=activation)(image)
    x = layers.ReLU(name="c_bias")(x)
    model = randomize(keras.Model(image, x))
    new = embed(replace_convolutions(model, **WHOLE), model)
    assert_same_calls(new, model, images(2, 6, 6, 8))
    assert [layer.name for layer in new.layers[1:]] == [
        "c",
        "c_bias_",
        "c_activation",
        "c_bias",
    ]
    clone = keras.models.clone_model(new)
    assert [x.name for x in clone.layers] == [x.name for x in new.layers]
