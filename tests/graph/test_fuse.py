import keras
import numpy as np
import pytest
from keras import layers

from keras_epsanet import EPSANet, EPSANetBackbone, fuse
from keras_epsanet.layers import PSA, BatchNormalization, GroupedConv2D

TINY = {
    "stackwise_num_blocks": (1, 2),
    "stackwise_num_filters": (16, 32),
    "kernel_sizes": (3, 5),
    "groups": (1, 4),
    "reduction": 4,
}


def image(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype("float32")


def norms(model):
    return [
        layer.name
        for layer in model._flatten_layers()
        if isinstance(layer, layers.BatchNormalization)
    ]


def assert_same_outputs(fused, model, x):
    expected = keras.tree.flatten(model.predict(x, verbose=0))
    for y, y0 in zip(
        keras.tree.flatten(fused.predict(x, verbose=0)), expected, strict=True
    ):
        np.testing.assert_allclose(y, y0, rtol=0, atol=1e-5 * np.abs(y0).max())


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_classifier_without_batch_norms_is_equal(randomize, data_format):
    shape = {"channels_last": (40, 36, 3), "channels_first": (3, 40, 36)}
    shape = shape[data_format]
    model = EPSANet(
        **TINY,
        classes=7,
        input_shape=shape,
        data_format=data_format,
        classifier_activation=None,
    )
    randomize(model)
    before = model.get_weights()
    fused = fuse(model)
    assert norms(model) and not norms(fused)
    assert_same_outputs(fused, model, image(2, *shape))
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_backbone_keeps_its_pyramid_when_reloaded(randomize, tmp_path):
    backbone = randomize(EPSANetBackbone(**TINY, image_shape=(64, 64, 3)))
    fused = fuse(backbone)
    fused.save(tmp_path / "fused.keras")
    reloaded = keras.saving.load_model(tmp_path / "fused.keras")
    pyramid = keras.Model(backbone.input, backbone.pyramid_outputs)
    for model in (fused, reloaded):
        assert list(model.pyramid_outputs) == ["P2", "P3"]
        assert model.pyramid_level_inputs == backbone.pyramid_level_inputs
        assert_same_outputs(
            keras.Model(model.input, model.pyramid_outputs),
            pyramid,
            image(1, 64, 64, 3),
        )


def test_network_of_other_layers(randomize):
    inputs = keras.Input((12, 10, 8))
    x = layers.Conv2D(16, 3, padding="same")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)(x)
    x = layers.BatchNormalization(scale=False)(x)
    x = GroupedConv2D(32, 5, groups=4, use_bias=True)(x)
    x = BatchNormalization(center=False)(x)
    x, attention = PSA(32, (3, 5), groups=(1, 4), reduction=4)(
        x, return_attention=True
    )
    x = layers.BatchNormalization()(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.BatchNormalization()(layers.Dense(5)(x))
    model = randomize(keras.Model(inputs, {"x": x, "attention": attention}))
    fused = fuse(model)
    assert not norms(fused)
    assert fused.predict(image(2, 12, 10, 8), verbose=0).keys() == {
        "x",
        "attention",
    }
    assert_same_outputs(fused, model, image(2, 12, 10, 8))


def test_norms_without_a_layer_of_their_own_stay(randomize):
    inputs = keras.Input((8, 8, 8))
    conv = layers.Conv2D(8, 1, name="used_twice")(inputs)
    x = layers.BatchNormalization(name="of_used_twice")(conv)
    x = layers.Add()([x, conv])
    x = layers.BatchNormalization(name="behind_add")(x)
    x = layers.Conv2D(8, 1, activation="relu")(x)
    x = layers.BatchNormalization(name="behind_relu")(x)
    shared = layers.BatchNormalization(name="shared")
    x = shared(layers.Conv2D(8, 1)(shared(layers.Conv2D(8, 1)(x))))
    x = layers.BatchNormalization(axis=1, name="rows")(layers.Conv2D(8, 1)(x))
    model = randomize(keras.Model(inputs, x))
    fused = fuse(model)
    assert sorted(norms(fused)) == [
        "behind_add",
        "behind_relu",
        "of_used_twice",
        "rows",
        "shared",
    ]
    assert_same_outputs(fused, model, image(2, 8, 8, 8))


def test_models_in_models_and_sequential_ones(randomize):
    block = keras.Sequential(
        [keras.Input((8, 8, 4)), layers.Conv2D(4, 1), BatchNormalization()]
    )
    inputs = keras.Input((8, 8, 4))
    model = randomize(keras.Model(inputs, block(block(inputs))))
    for original in (model, block):
        fused = fuse(original)
        assert not norms(fused)
        assert_same_outputs(fused, original, image(2, 8, 8, 4))


def test_refuses_to_train():
    block = keras.Sequential(
        [keras.Input((8, 8, 4)), layers.Conv2D(4, 1), BatchNormalization()]
    )
    fused = fuse(block)
    fused.compile("sgd", "mse")
    x = image(2, 8, 8, 4)
    fused.evaluate(x, x, verbose=0)
    assert fused.trainable_weights == []
    with pytest.raises(ValueError, match="inference only.*Received: fit"):
        fused.fit(x, x)
    with pytest.raises(ValueError, match="inference only"):
        fused.train_on_batch(x, x)
    with pytest.raises(ValueError, match="inference only.*trainable=True"):
        fused.trainable = True


def test_refuses_what_has_no_graph():
    with pytest.raises(ValueError, match="must be a functional model"):
        fuse(keras.Sequential([layers.Dense(3)]))
    with pytest.raises(ValueError, match="Received: model=None"):
        fuse(None)
