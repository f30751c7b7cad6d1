import inspect

import keras
import numpy as np
import pytest

from keras_epsanet.layers import ClassNames, Resizing, class_names

# Layers of Keras whose call trains what is behind them, unless told not to:
# no model that is saved may begin with one of them.
TRAINS_BY_DEFAULT = {
    "AugMix",
    "AutoContrast",
    "CenterCrop",
    "ContrastLimitedAdaptiveHistogramEqualization",
    "CutMix",
    "Equalization",
    "MaxNumBoundingBoxes",
    "MixUp",
    "Pipeline",
    "RandAugment",
    "RandomBrightness",
    "RandomColorDegeneration",
    "RandomColorJitter",
    "RandomContrast",
    "RandomCrop",
    "RandomElasticTransform",
    "RandomErasing",
    "RandomFlip",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomHue",
    "RandomInvert",
    "RandomPerspective",
    "RandomPosterization",
    "RandomRotation",
    "RandomSaturation",
    "RandomSharpness",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
    "Resizing",
    "Solarization",
}


def training_by_default(layer):
    argument = inspect.signature(layer.call).parameters.get("training")
    return argument is not None and bool(argument.default)


def test_layers_of_keras_that_train_by_default_are_known():
    layers = {
        name: value
        for name, value in vars(keras.layers).items()
        if inspect.isclass(value) and issubclass(value, keras.layers.Layer)
    }
    found = {name for name, x in layers.items() if training_by_default(x)}
    assert found == TRAINS_BY_DEFAULT
    assert not training_by_default(Resizing)


def classifier(resizing):
    image = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(resizing(8, 8)(image))
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.5, seed=0)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(3, "softmax")(x)
    return keras.Model(image, ClassNames(["a", "b", "c"])(x))


@pytest.fixture
def images():
    random = np.random.default_rng(0)
    return random.integers(0, 256, (4, 10, 12, 3)).astype("float32")


def test_images_are_resized_as_by_keras(images):
    options = {"interpolation": "nearest", "crop_to_aspect_ratio": True}
    for image in (images, images[0]):
        np.testing.assert_array_equal(
            *(
                keras.ops.convert_to_numpy(layer(6, 5, **options)(image))
                for layer in (Resizing, keras.layers.Resizing)
            )
        )


def assert_call_predicts(model, images):
    before = [weight.numpy() for weight in model.weights]
    found = keras.ops.convert_to_numpy(model(images))
    for weight, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_call_predicts_and_changes_no_weight(images):
    assert_call_predicts(classifier(Resizing), images)


def test_layers_behind_train_in_fit(images):
    model = classifier(Resizing)
    model.compile("sgd", "categorical_crossentropy")
    names = ("moving_mean", "moving_variance")
    before = [w.numpy() for w in model.weights if w.name in names]
    model.fit(images, np.eye(3)[[0, 1, 2, 0]], verbose=0)
    after = [w.numpy() for w in model.weights if w.name in names]
    assert len(before) == 2
    for old, new in zip(before, after, strict=True):
        assert (old != new).all()


@pytest.fixture
def old_file(tmp_path, monkeypatch):
    """Path of a classifier as it was written before there was `Resizing`."""
    with monkeypatch.context() as patch:
        patch.setattr(class_names, "free_training", lambda tensor: None)
        model = classifier(keras.layers.Resizing)
    model.save(tmp_path / "old.keras")
    return tmp_path / "old.keras"


def test_a_file_with_the_layer_of_keras_is_repaired(images, old_file):
    model = keras.saving.load_model(old_file)
    assert_call_predicts(model, images)
    model.save(old_file)
    saved = keras.saving.load_model(old_file)
    assert type(saved.layers[1]) is Resizing
    assert_call_predicts(saved, images)


def test_every_branch_before_the_names_is_repaired(images):
    image = keras.Input((None, None, 3))
    shared = keras.layers.Resizing(8, 8, name="shared")
    branches = [
        keras.layers.Resizing(8, 8, name=f"branch_{i}")(image) for i in range(2)
    ]
    # Of two calls of one layer, too.
    branches += [shared(image), shared(keras.layers.Rescaling(2.0)(image))]
    x = keras.layers.Concatenate()(branches)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(3, "softmax")(x)
    model = keras.Model(image, ClassNames(["a", "b", "c"])(x))
    for name in ("branch_0", "branch_1", "shared"):
        assert type(model.get_layer(name)) is Resizing
    assert_call_predicts(model, images)


def test_only_what_is_before_the_names_is_repaired():
    image = keras.Input((None, None, 3))
    other = keras.layers.Resizing(4, 4)
    other(image)
    model = classifier(keras.layers.Resizing)
    assert type(other) is keras.layers.Resizing
    assert type(model.layers[1]) is Resizing
