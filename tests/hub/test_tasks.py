"""Classifiers as tasks of KerasHub."""

import sys

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANet, ResNet, preprocess_input
from keras_epsanet.hub import tasks

keras_hub = pytest.importorskip("keras_hub")
FRAME = {"stackwise_num_blocks": (1, 1), "stackwise_num_filters": (16, 32)}
PYRAMID = {"kernel_sizes": (3, 5), "groups": (1, 4), "reduction": 4}


def test_images_are_normalized_as_by_preprocess_input(images):
    converter = tasks.image_converter()
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(converter(images)),
        preprocess_input(images),
        atol=1e-5,
    )
    converter = tasks.image_converter((8, 8), (0.5,) * 3, (0.5,) * 3)
    white = np.full((1, 16, 16, 3), 255, "uint8")
    found = keras.ops.convert_to_numpy(converter(white))
    np.testing.assert_allclose(found, np.ones((1, 8, 8, 3)), atol=1e-6)


@pytest.mark.parametrize("attention", ["psa", "eca", None])
def test_a_task_predicts_what_the_classifier_does(
    attention, make_classifier, images
):
    model = make_classifier(attention)
    task = tasks.image_classifier(model)
    assert type(task) is keras_hub.models.ImageClassifier
    assert task.num_classes == 4 and task.preprocessor.image_size == (32, 40)
    expected = model.predict(images, verbose=0)
    assert expected.std(axis=0).max() > 1e-3  # The images matter.
    np.testing.assert_allclose(
        task.predict(images, verbose=0), expected, atol=1e-5
    )


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", None])
def test_a_network_alone_gets_normalized_images(activation, randomize):
    model = randomize(
        EPSANet(
            **FRAME,
            **PYRAMID,
            classes=1,
            classifier_activation=activation,
            input_shape=(None, None, 3),
        )
    )
    task = tasks.image_classifier(model)
    assert task.preprocessor.image_size is None
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 40, 32, 3))
    np.testing.assert_allclose(
        task.predict(pixels.astype("float32"), verbose=0),
        model.predict(preprocess_input(pixels), verbose=0),
        atol=1e-5,
        rtol=1e-5,
    )


def test_gray_images_stay_as_they_are(randomize):
    model = randomize(ResNet(**FRAME, classes=2, input_shape=(32, 32, 1)))
    task = tasks.image_classifier(model)
    x = np.random.default_rng(0).standard_normal((2, 32, 32, 1))
    np.testing.assert_allclose(
        task.predict(x.astype("float32"), verbose=0),
        model.predict(x.astype("float32"), verbose=0),
        atol=1e-6,
    )


def test_a_task_resizes_as_the_model_does(images, randomize):
    image = keras.Input((None, None, 3))
    resize = keras.layers.Resizing(
        32, 40, interpolation="nearest", crop_to_aspect_ratio=True
    )
    x = keras.layers.Rescaling(1 / 255)(resize(image))
    network = ResNet(**FRAME, classes=2, input_tensor=x, name="mine")
    model = randomize(network)
    task = tasks.image_classifier(model)
    assert task.name == "mine"
    converter = task.preprocessor.image_converter
    assert converter.interpolation == "nearest"
    assert converter.crop_to_aspect_ratio
    np.testing.assert_allclose(
        task.predict(images, verbose=0),
        model.predict(images, verbose=0),
        atol=1e-5,
    )


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_size_alone_shrinks_the_whole_image(data_format):
    shape = (32, 48, 3) if data_format == "channels_last" else (3, 32, 48)
    model = ResNet(
        **FRAME, classes=2, input_shape=shape, data_format=data_format
    )
    converter = tasks.image_classifier(model).preprocessor.image_converter
    assert converter.image_size == (32, 48)
    assert converter.data_format == data_format
    assert not converter.crop_to_aspect_ratio


def test_it_trains_with_more_or_fewer_classes(make_classifier, tmp_path):
    model = make_classifier()
    tasks.image_classifier(model).save_to_preset(str(tmp_path))
    task = keras_hub.models.ImageClassifier.from_preset(
        str(tmp_path), num_classes=2
    )
    assert task.preprocessor.image_size == (32, 40)
    np.testing.assert_array_equal(
        task.backbone.get_layer("conv1_conv").get_weights()[0],
        model.get_layer("conv1_conv").get_weights()[0],
    )
    x = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3))
    history = task.fit(x.astype("uint8"), np.array([0, 1]), verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_without_a_classifier_it_is_refused():
    model = EPSANet(**FRAME, **PYRAMID, include_top=False)
    with pytest.raises(ValueError, match="must have a classifier"):
        tasks.image_classifier(model)


def test_a_path_is_no_model():
    with pytest.raises(ValueError, match="load_model.*Received: model=m.keras"):
        tasks.image_classifier("m.keras")


def test_without_kerashub_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ImportError, match=r"pip install keras-hub"):
        tasks.image_converter()
