import keras
import numpy as np
import pytest

from keras_epsanet import EPSANet, EPSANetBackbone
from keras_epsanet.layers import PSA, GroupedConv2D
from keras_epsanet.weights.inherit import inherit_weights

SIZES = {"input_shape": (32, 32, 3), "classes": 5}
STAGES = {"stackwise_num_blocks": (2,), "stackwise_num_filters": (64,)}
RESNET = {**STAGES, "kernel_sizes": (3,), "groups": (1,)}
SMALL = {**STAGES, "kernel_sizes": (3, 5, 7, 9), "groups": (1, 4, 8, 16)}
MODULES = ["conv2_block1_psa", "conv2_block2_psa"]


def make_resnet(**kwargs):
    """A ResNet whose batch normalizations are not all the same."""
    model = EPSANet(**{**RESNET, **SIZES, **kwargs})
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if hasattr(layer, "gamma"):
            shape = layer.gamma.shape
            layer.gamma.assign(generator.uniform(0.5, 1.5, shape))
            layer.beta.assign(generator.normal(0, 0.3, shape))
    return model


def make_small(**kwargs):
    return EPSANet(**{**SMALL, **SIZES, **kwargs})


def make_images(count=40, channels=3):
    """Blots rather than noise: pixels of a picture are alike."""
    generator = np.random.default_rng(1)
    blots = generator.normal(size=(count, 8, 8, channels)).astype("float32")
    return blots.repeat(4, axis=1).repeat(4, axis=2)


def error(model, source, images):
    """Mean square of the difference, relative to the variance."""
    expected = source.predict(images, verbose=0)
    found = model.predict(images, verbose=0)
    return np.square(found - expected).mean() / expected.var()


def values(model):
    return [keras.ops.convert_to_numpy(w) for w in model.weights]


@pytest.fixture(scope="module")
def source():
    keras.utils.set_random_seed(0)
    return make_resnet()


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(1)


def test_a_fitted_network_comes_near_to_its_source(source):
    images = make_images(64)
    model = make_small()
    embedded = inherit_weights(model, source, verbose=False)
    assert list(embedded.partly) == MODULES and not embedded.fitted
    before = error(model, source, images)
    fitted = inherit_weights(model, source, images, verbose=False)
    assert list(fitted.fitted) == MODULES and not fitted.partly
    assert set(fitted.exact) == set(embedded.exact)
    assert all(0.5 < share < 1 for share in fitted.fitted.values())
    assert error(model, source, images) < before / 2


def test_what_was_inherited_is_said(source, capsys):
    model = make_small(classes=7)
    inherited = inherit_weights(model, source)
    assert inherited.left == ("predictions",)
    text = capsys.readouterr().out
    assert "Initialized from ResNet" in text and "1 left as they" in text
    assert "recalibrate_batch_norm" in text
    inherit_weights(model, source, verbose=False)
    assert not capsys.readouterr().out


def test_files_are_read(source, tmp_path):
    path = tmp_path / "resnet.keras"
    source.save(path)
    by_file, by_model = make_small(), make_small()
    by_file.set_weights(by_model.get_weights())
    inherit_weights(by_file, path, verbose=False)
    inherit_weights(by_model, source, verbose=False)
    for one, other in zip(values(by_file), values(by_model)):
        np.testing.assert_array_equal(one, other)


def test_state_dicts_are_read(source):
    from keras_epsanet.weights.resnet_names import read_resnet

    model, other = make_small(), make_small()
    inherit_weights(model, read_resnet(source).state, verbose=False)
    inherit_weights(other, source, verbose=False)
    np.testing.assert_array_equal(
        model.get_layer("conv2_block1_psa").spc.convolutions[0].kernel,
        other.get_layer("conv2_block1_psa").spc.convolutions[0].kernel,
    )


def test_a_backbone_is_fitted(source):
    backbone = EPSANetBackbone(
        **SMALL, image_shape=(32, 32, 3), prefix="image_"
    )
    inherited = inherit_weights(backbone, source, make_images(), verbose=False)
    assert list(inherited.fitted) == [f"image_{name}" for name in MODULES]


def test_another_network_of_scales_is_fitted_to_by_its_layers():
    large = make_small(groups=(1, 2, 4, 4))
    model = make_small()
    images = make_images()
    inherited = inherit_weights(model, large, images, verbose=False)
    assert list(inherited.fitted) == MODULES
    same = inherit_weights(model, make_small(), verbose=False)
    assert set(MODULES) <= set(same.exact)


def test_layers_in_front_keep_their_state(source):
    adapted = keras.layers.Normalization()
    images = 20 * make_images(64) + 50
    adapted.adapt(images)
    image = keras.Input((32, 32, 3))
    kwargs = {**SMALL, "classes": 5}
    model = EPSANet(**kwargs, input_tensor=adapted(image))
    inherit_weights(model, source, images, verbose=False)
    expected = source.predict((images - 50) / 20, verbose=0)
    found = model.predict(images, verbose=0)
    assert np.square(found - expected).mean() < 0.3 * expected.var()


@pytest.mark.parametrize("kind", ["lora", "int8"])
@pytest.mark.parametrize("is_source", [False, True])
def test_changed_layers_are_refused(kind, is_source):
    changed, other = make_small(), make_small()
    if kind == "lora":
        changed.get_layer("predictions").enable_lora(2)
    else:
        changed.get_layer("predictions").quantize("int8")
    pair = (other, changed) if is_source else (changed, other)
    with pytest.raises(ValueError, match="quantized or have LoRA.*predictions"):
        inherit_weights(*pair, verbose=False)


@pytest.mark.parametrize(
    "images, reason",
    [
        (make_images(4, channels=1), "of the model's shape"),
        (make_images(4)[0], "of the model's shape"),
        (np.full((4, 32, 32, 3), np.nan), "finite"),
        ([], "must be an image"),
    ],
)
def test_wrong_images_are_refused(source, images, reason):
    model = make_small()
    before = values(model)
    with pytest.raises(ValueError, match=f"{reason}.*Received"):
        inherit_weights(model, source, images, verbose=False)
    for old, new in zip(before, values(model)):
        np.testing.assert_array_equal(old, new)


def test_an_error_leaves_the_model_as_it_was(source, monkeypatch):
    from keras_epsanet.weights import inherit

    def fail(model, *args):
        # What the source has no name for as well.
        for variable in model.variables:
            variable.assign(keras.ops.ones(variable.shape))
        raise KeyboardInterrupt

    monkeypatch.setattr(inherit, "fit_pyramids", fail)
    model = make_small()
    before = values(model)
    with pytest.raises(KeyboardInterrupt):
        inherit_weights(model, source, make_images(), verbose=False)
    for old, new in zip(before, values(model)):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    "make_source, reason",
    [
        (lambda: make_resnet(stackwise_num_blocks=(1,)), "does not fit"),
        (lambda: keras.Sequential([keras.layers.Dense(3)]), "Received"),
        (lambda: "nothing.pth", "no file"),
        (lambda: "resnet50.tv3", "resnet50.tv2.*Received: name=resnet50.tv3"),
    ],
)
def test_wrong_sources_are_refused(make_source, reason):
    model = make_small()
    before = values(model)
    with pytest.raises(ValueError, match=reason):
        inherit_weights(model, make_source(), verbose=False)
    for old, new in zip(before, values(model)):
        np.testing.assert_array_equal(old, new)


def test_a_file_does_not_fit_any_model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="Only an EPSANet.*Received"):
        inherit_weights(model, "resnet50.pth")


def test_the_source_is_left_as_it_was(source):
    before = values(source)
    inherit_weights(make_small(), source, make_images(), verbose=False)
    for old, new in zip(before, values(source)):
        np.testing.assert_array_equal(old, new)


def test_half_precision_is_fitted(source):
    model = make_small(dtype="mixed_bfloat16")
    images = make_images(64)
    inherit_weights(model, source, images, verbose=False)
    assert error(model, source, images) < 0.5


def test_modules_of_inner_models_are_embedded_and_not_fitted():
    def nest(layer):
        image = keras.Input((8, 8, 16))
        inner = keras.Model(image, layer(image), name="inner")
        outer = keras.Input((8, 8, 16))
        return keras.Model(outer, inner(outer))

    source = nest(GroupedConv2D(16, 3, name="conv"))
    model = nest(PSA(16, groups=(1, 2, 4, 4), reduction=1, name="conv"))
    inherited = inherit_weights(model, source, verbose=False)
    assert list(inherited.partly) == ["inner/conv"] and not inherited.fitted
    images = np.ones((4, 8, 8, 16), "float32")
    with pytest.raises(ValueError, match="cannot be fitted.*with inner/conv$"):
        inherit_weights(model, source, images, verbose=False)


REPLICAS = """
import numpy as np, tensorflow as tf

from keras_epsanet import EPSANet, inherit_weights

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, 3 * [tf.config.LogicalDeviceConfiguration()]
)
sizes = {"input_shape": (32, 32, 3), "classes": 5}
scales = (3, 5, 7, 9), (1, 4, 8, 16)
source = EPSANet((1,), (64,), (3,), (1,), **sizes)
images = np.random.default_rng(0).normal(size=(13, 32, 32, 3))
strategy = tf.distribute.MirroredStrategy([f"/cpu:{i}" for i in range(3)])
with strategy.scope():
    mirrored = EPSANet((1,), (64,), *scales, **sizes)
alone = EPSANet((1,), (64,), *scales, **sizes)
alone.set_weights(mirrored.get_weights())
for model in (mirrored, alone):
    inherit_weights(model, source, images, verbose=False)
for variable, wanted in zip(mirrored.weights, alone.weights, strict=True):
    parts = strategy.experimental_local_results(variable.value)
    assert len(parts) == 3
    for part in parts:
        np.testing.assert_allclose(part, wanted, rtol=1e-4, atol=1e-5)
"""


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="replicas of TensorFlow"
)
def test_all_replicas_inherit(run_python):
    run_python(REPLICAS)
