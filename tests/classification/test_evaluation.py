import pathlib

import keras
import numpy as np
import pytest

import keras_epsanet
from keras_epsanet.classification import evaluation
from keras_epsanet.layers import ClassNames, Resizing

if keras.backend.backend() != "tensorflow":
    pytest.skip("images are decoded by TensorFlow", allow_module_level=True)

import tensorflow as tf


@pytest.mark.parametrize(
    "folders, expected",
    [
        (("val", "train"), "val"),
        (("test", "train"), "test"),
        (("val", "test", "train"), "val"),
        (("val", "test"), ""),
        (("cat", "dog"), ""),
    ],
)
def test_the_part_for_evaluation_is_taken(
    folders, expected, tmp_path, monkeypatch
):
    for name in folders:
        (tmp_path / name).mkdir()
    monkeypatch.setattr(keras_epsanet.data, "image_folder", str)
    found = evaluation.open_images(str(tmp_path))
    assert pathlib.Path(found) == tmp_path / expected


def test_without_data_the_embedded_images_are_evaluated():
    assert evaluation.open_images().num_images == 2000


def test_classes_are_matched_by_their_names():
    found = evaluation.match_classes(["dog", "cat"], ("cat", "cow", "dog"))
    assert found.tolist() == [2, 0]
    with pytest.raises(ValueError, match="images of ape, rat$"):
        evaluation.match_classes(["rat", "dog", "ape"], ["dog"])


def make_model(*layers, shape=(None, None, 3)):
    image = x = keras.Input(shape)
    for layer in layers:
        x = layer(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, ClassNames(["cow", "dog", "cat"])(x))


@pytest.fixture
def images():
    """Three images of the height 4 and the width 6, of one channel."""
    pixels = np.ones((3, 4, 6, 1), "uint8") * [[[[0]]], [[[1]]], [[[2]]]]
    dataset = tf.data.Dataset.from_tensor_slices((pixels, [0, 1, 1]))
    dataset.class_names = ["dog", "cat"]
    return dataset


@pytest.mark.parametrize(
    "model, size",
    [
        (make_model(), (4, 6)),
        (make_model(Resizing(5, 7)), (5, 7)),
        (make_model(shape=(8, 9, 3)), (8, 9)),
    ],
)
def test_images_are_as_the_model_takes_them(model, size, images):
    batches = list(evaluation.labeled_batches(model, images, 2))
    # By the model's numbers.
    assert [list(labels) for labels, _ in batches] == [[1, 2], [2]]
    assert [x.shape for _, x in batches] == [(2, *size, 3), (1, *size, 3)]
    assert [x[:, 0, 0, 2].tolist() for _, x in batches] == [[0, 1], [2]]


def test_every_image_is_predicted_with_its_class(images, monkeypatch):
    asked = []

    def predict(model, batches, strategy):
        asked.append((model, strategy))
        return np.concatenate([x.mean(axis=(1, 2)) for x in batches])

    monkeypatch.setattr(evaluation.distribution, "predict", predict)
    model = make_model()
    found = evaluation.evaluate(model, images, 2, "strategy")
    assert asked == [(model, "strategy")]
    assert found.class_names == ["cow", "dog", "cat"]
    assert found.labels.tolist() == [1, 2, 2]
    assert found.probabilities[:, 0].tolist() == [0, 1, 2]
