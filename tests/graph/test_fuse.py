import keras
import numpy as np
import pytest
from keras import layers

from keras_epsanet import EPSANet, EPSANetBackbone, fuse
from keras_epsanet.detection.detector import Detector
from keras_epsanet.graph.fuse import _merge_groups, _merged_groups
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


def assert_same_calls(fused, model, x):
    """As `assert_same_outputs`, of a call, which takes less time."""
    pairs = zip(
        keras.tree.flatten(fused(x)),
        keras.tree.flatten(model(x)),
        strict=True,
    )
    for pair in pairs:
        y, y0 = map(keras.ops.convert_to_numpy, pair)
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
    assert_same_calls(fused, model, image(2, *shape))
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_backbone_keeps_its_pyramid_when_reloaded_or_cloned(
    randomize, tmp_path
):
    backbone = randomize(EPSANetBackbone(**TINY, image_shape=(64, 64, 3)))
    fused = fuse(backbone)
    fused.save(tmp_path / "fused.keras")
    reloaded = keras.saving.load_model(tmp_path / "fused.keras")
    pyramid = keras.Model(backbone.input, backbone.pyramid_outputs)
    clone = keras.models.clone_model(keras.models.clone_model(fused))
    clone.set_weights(fused.get_weights())
    for model in (fused, reloaded, clone):
        assert list(model.pyramid_outputs) == ["P2", "P3"]
        assert model.pyramid_level_inputs == backbone.pyramid_level_inputs
        assert_same_calls(
            keras.Model(model.input, model.pyramid_outputs),
            pyramid,
            image(1, 64, 64, 3),
        )


def test_clone_of_what_is_no_backbone_has_no_pyramid():
    inputs = keras.Input((8, 8, 8))
    x = PSA(8, (3, 5), groups=(1, 4), reduction=4)(inputs)
    x = layers.ReLU(name="conv2_block1_out")(BatchNormalization()(x))
    classifier = keras.Model(inputs, layers.GlobalMaxPooling2D()(x))
    x = layers.Conv2D(8, 1, name="conv2_block1_out")(inputs)
    for model in (classifier, keras.Model(inputs, x)):
        fused = fuse(model)
        assert fused.pyramid_outputs is None
        assert keras.models.clone_model(fused).pyramid_outputs is None


class OtherBackbone(keras.Model):
    """A backbone whose levels are BatchNorms, as KerasHub's give them."""

    def __init__(self):
        inputs = keras.Input((8, 8, 4))
        levels = {}
        x = inputs
        for level in ("P1", "P2"):
            x = layers.Conv2D(4, 3, 2, padding="same", name=f"{level}_conv")(x)
            x = layers.BatchNormalization(name=f"{level}_norm")(x)
            levels[level] = x
        super().__init__(inputs, x)
        self.levels = levels

    @property
    def pyramid_outputs(self):
        return dict(self.levels)


class NamingBackbone(OtherBackbone):
    """The same, with the names that KerasCV looks for."""

    pyramid_level_inputs = {"P1": "P1_norm", "P2": "P2_norm"}


@pytest.mark.parametrize("cls", [OtherBackbone, NamingBackbone])
def test_levels_that_are_folded_away_are_those_of_their_layers(randomize, cls):
    backbone = randomize(cls())
    fused = fuse(backbone)
    assert fused.pyramid_level_inputs == {"P1": "P1_conv", "P2": "P2_conv"}
    assert_same_calls(
        keras.Model(fused.input, fused.pyramid_outputs),
        keras.Model(backbone.input, backbone.pyramid_outputs),
        image(1, 8, 8, 4),
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
    assert_same_calls(fused, model, image(2, 12, 10, 8))


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


def test_norms_called_by_keyword(randomize):
    inputs = keras.Input((6,))
    x = layers.Dense(4)(inputs=inputs)
    x = layers.BatchNormalization()(training=False, inputs=x)
    model = randomize(keras.Model(inputs, x))
    fused = fuse(model)
    assert not norms(fused)
    assert_same_calls(fused, model, image(3, 6))


@pytest.mark.parametrize(
    "make, shape, axis",
    [
        (lambda: layers.Conv1D(4, 3), (6, 3), -1),
        (lambda: layers.Conv3D(4, 2), (3, 4, 5, 2), -1),
        (lambda: layers.DepthwiseConv1D(3, depth_multiplier=2), (6, 3), 2),
        (lambda: layers.DepthwiseConv2D(3), (5, 6, 3), 3),
        (lambda: layers.Dense(4), (3, 5), 2),
        (lambda: GroupedConv2D(4, 3, groups=2), (5, 6, 4), -1),
        (
            lambda: GroupedConv2D(4, 3, data_format="channels_first"),
            (3, 5, 6),
            1,
        ),
    ],
)
def test_every_layer_with_a_kernel_takes_its_norm(randomize, make, shape, axis):
    inputs = keras.Input(shape)
    x = layers.BatchNormalization(axis=axis, epsilon=0.3)(make()(inputs))
    model = randomize(keras.Model(inputs, x, name="some"))
    fused = fuse(model)
    assert fused.name == "some"
    assert not norms(fused)
    assert_same_calls(fused, model, image(2, *shape))


@pytest.mark.parametrize("axis", [-1, 2])
def test_norms_of_another_axis_than_the_channels_stay(randomize, axis):
    inputs = keras.Input((3, 6, 5))
    x = GroupedConv2D(4, 3, data_format="channels_first")(inputs)
    x = layers.BatchNormalization(axis=axis, name="norm")(x)
    model = randomize(keras.Model(inputs, x))
    assert norms(fuse(model)) == ["norm"]


def test_norms_that_know_their_renormalization_stay():
    inputs = keras.Input((6,))
    x = layers.Dense(4)(inputs)
    x = layers.BatchNormalization(renorm=True, name="renorm")(x)
    assert norms(fuse(keras.Model(inputs, x))) == ["renorm"]


def test_a_norm_behind_the_attention_stays(randomize):
    inputs = keras.Input((6, 6, 8))
    psa = PSA(8, (3, 5), groups=(1, 4), reduction=4)
    y, attention = psa(inputs, return_attention=True)
    attention = layers.BatchNormalization(name="norm")(attention)
    model = randomize(keras.Model(inputs, [y, attention]))
    fused = fuse(model)
    assert norms(fused) == ["norm"]
    assert_same_calls(fused, model, image(2, 6, 6, 8))


def test_a_quantized_layer_keeps_its_norm(randomize):
    inputs = keras.Input((6,))
    dense = layers.Dense(4)
    x = layers.BatchNormalization(name="norm")(dense(inputs))
    model = randomize(keras.Model(inputs, x))
    dense.quantize("int8")
    fused = fuse(model)
    assert norms(fused) == ["norm"]
    assert_same_calls(fused, model, image(3, 6))


@pytest.mark.parametrize(
    "groups, channels, fewest, merged",
    [
        (16, 64, 8, 8),  # Of 4 channels each.
        (16, 64, 16, 4),
        (8, 64, 8, 8),
        (8, 64, 16, 4),
        (16, 16, 8, 2),
        (4, 8, 8, 1),
        (4, 4, 8, 1),
        (1, 4, 8, 1),
        (3, 12, 8, 3),  # Not to be halved.
        (6, 12, 8, 3),
    ],
)
def test_groups_are_merged_up_to_so_many_channels(
    groups, channels, fewest, merged
):
    layer = GroupedConv2D(2 * groups, 3, groups=groups)
    layer.build((1, 5, 6, channels))
    assert _merged_groups(layer, fewest) == merged
    other = GroupedConv2D(2 * groups, 3, groups=merged)
    other.build((1, 5, 6, channels))
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    other.kernel.assign(_merge_groups(kernel, groups, merged))
    assert_same_calls(other, layer, image(1, 5, 6, channels))


@pytest.mark.parametrize(
    "size, fewest, groups",
    [
        (3, 8, 2),
        (3, 16, 1),
        (5, 8, 2),
        (5, 16, 4),  # ONNX gets depthwise convolutions.
    ],
)
def test_a_psa_has_groups_of_so_many_channels(size, fewest, groups):
    inputs = keras.Input((8, 8, 16))
    x = PSA(16, (3, size), (1, 4), reduction=4, name="psa")(inputs)
    model = keras.Model(inputs, layers.BatchNormalization()(x))
    within = keras.Model(inputs, model(inputs))  # In a model in it too.
    for each, find in (
        (model, lambda fused: fused.get_layer("psa")),
        (within, lambda fused: fused.layers[-1].get_layer("psa")),
    ):
        fused = fuse(each, group_channels=fewest)
        assert find(fused).groups == (1, groups)
        assert_same_calls(fused, each, image(3, 8, 8, 16))


@pytest.mark.parametrize("channels", [0, -8, 2.5, "8", None, True])
def test_groups_need_channels(channels):
    model = keras.Sequential([layers.Input((4,)), layers.Dense(2)])
    with pytest.raises(
        ValueError, match=f"Received: group_channels={channels}"
    ):
        fuse(model, group_channels=channels)


class Doubled(layers.BatchNormalization):
    def call(self, inputs, **kwargs):
        return 2 * super().call(inputs, **kwargs)


def test_norms_that_do_something_else_stay(randomize):
    inputs = keras.Input((6,))
    x = Doubled(name="doubled")(layers.Dense(4)(inputs))
    model = randomize(keras.Model(inputs, x))
    fused = fuse(model)
    assert norms(fused) == ["doubled"]
    assert_same_calls(fused, model, image(3, 6))


def test_norms_that_stay_do_not_learn_in_a_model_around(randomize):
    inputs = keras.Input((6,))
    body = keras.Model(inputs, layers.BatchNormalization()(inputs))
    fused = fuse(randomize(body))
    expected = keras.ops.convert_to_numpy(body(image(3, 6)))
    outer = keras.Model(inputs, fused(inputs))
    y = keras.ops.convert_to_numpy(outer(image(3, 6), training=True))
    np.testing.assert_allclose(y, expected, atol=1e-6)


def test_network_of_a_detector(randomize):
    inputs = keras.Input((8, 8, 4))
    x = BatchNormalization()(GroupedConv2D(4, 3)(inputs))
    backbone = keras.Model(inputs, x)
    x = layers.BatchNormalization()(layers.Conv2D(2, 1)(x))
    detector = randomize(Detector(backbone, num_classes=2, outputs={"x": x}))
    fused = fuse(detector)
    assert not norms(fused)
    assert_same_calls(fused, detector, image(1, 8, 8, 4))


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
    fused.trainable = True
    assert not fused.trainable
    assert fused.trainable_weights == []


def test_a_model_around_a_fused_one_trains_without_it(randomize, tmp_path):
    inputs = keras.Input((8,))
    x = layers.BatchNormalization()(layers.Dense(4)(inputs))
    fused = fuse(randomize(keras.Model(inputs, x, name="body")))
    before = fused.get_weights()
    outer = keras.Model(inputs, layers.Dense(2, name="head")(fused(inputs)))
    outer.trainable = False
    outer.trainable = True
    outer.compile("sgd", "mse")
    outer.save(tmp_path / "outer.keras")
    for model in (outer, keras.saving.load_model(tmp_path / "outer.keras")):
        names = [weight.path for weight in model.trainable_weights]
        assert names == ["head/kernel", "head/bias"]
    outer.fit(image(4, 8), image(4, 2), verbose=0)
    for now, then in zip(fused.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_refuses_what_has_no_graph():
    with pytest.raises(ValueError, match="must be a functional model"):
        fuse(keras.Sequential([layers.Dense(3)]))
    with pytest.raises(ValueError, match="Received: model=None"):
        fuse(None)


class Negative(keras.Model):
    """Functional model that does more than its graph says."""

    def call(self, inputs, training=None):
        return -super().call(inputs, training=training)


def test_refuses_a_call_that_the_graph_lacks():
    inputs = keras.Input((3,))
    model = Negative(inputs, layers.Dense(2)(inputs))
    with pytest.raises(ValueError, match="Negative has a `call` of its own"):
        fuse(model)
    assert fuse(keras.Model(model.inputs, model.outputs))


def test_what_is_an_output_too_keeps_its_norm(randomize):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    y = layers.BatchNormalization(name="norm")(x)
    model = randomize(keras.Model(inputs, [x, y]))
    fused = fuse(model)
    assert norms(fused) == ["norm"]
    assert_same_calls(fused, model, image(2, 8, 8, 3))


@pytest.mark.parametrize("gamma, kept", [(1e5, ["norm"]), (1e3, [])])
def test_factors_beyond_the_range_of_float16_are_not_folded(gamma, kept):
    x = inputs = keras.Input((4, 4, 4))
    conv = layers.Conv2D(4, 1, kernel_initializer="ones", dtype="mixed_float16")
    norm = BatchNormalization(dtype="mixed_float16", name="norm")
    model = keras.Model(inputs, norm(conv(x)))
    norm.gamma.assign(keras.ops.full((4,), gamma))
    fused = fuse(model)
    assert norms(fused) == kept
    pixels = image(1, 4, 4, 4) / 50
    y, expected = (
        np.array(m.predict(pixels, verbose=0)) for m in (fused, model)
    )
    assert np.isfinite(expected).all()
    y, expected = y.astype("float32"), expected.astype("float32")
    np.testing.assert_allclose(y, expected, rtol=0.01, atol=gamma / 1000)


@pytest.mark.parametrize("host", [layers.Conv2D, GroupedConv2D, PSA])
@pytest.mark.parametrize("dtypes", [("float16", "float32"), ("float32",) * 2])
def test_a_batch_norm_of_another_dtype_keeps_its_range(host, dtypes):
    narrow, wide = (f"mixed_{x}" if x == "float16" else x for x in dtypes)
    x = inputs = keras.Input((4, 4, 16))
    if host is PSA:
        x = PSA(8, (3, 5), (1, 2), reduction=2, dtype=narrow)(x)
    else:
        x = host(8, 3, dtype=narrow)(x)
    norm = BatchNormalization(dtype=wide, name="norm")
    model = keras.Model(inputs, norm(x))
    norm.gamma.assign(keras.ops.full((8,), 1e6))
    fused = fuse(model)
    assert norms(fused) == ["norm"] * (narrow != wide)
    pixels = image(2, 4, 4, 16)
    y, expected = fused(pixels), model(pixels)
    assert keras.backend.standardize_dtype(y.dtype) == "float32"
    y, expected = map(keras.ops.convert_to_numpy, (y, expected))
    assert np.abs(expected).max() > 65504  # More than float16 has.
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e2)
