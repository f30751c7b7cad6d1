import keras
import numpy as np
import pytest

from keras_epsanet.explain.labeled_batches import labeled_batches

IMAGES = np.arange(5.0).reshape(5, 1, 1, 1) * np.ones((1, 1, 3, 1))
LABELS = np.array([0, 2, 1, 1, 0])


@pytest.fixture(scope="module")
def model():
    return keras.Sequential([keras.Input((1, 3, 1)), keras.layers.Flatten()])


def collect(batches):
    images, labels = zip(*batches)
    return np.concatenate(images), np.concatenate(labels)


@pytest.mark.parametrize(
    "data",
    [
        (IMAGES, LABELS),
        (IMAGES, np.eye(3)[LABELS]),
        [(IMAGES[:3], LABELS[:3]), (IMAGES[3:], LABELS[3:])],
        [(IMAGES, LABELS, np.ones(5))],
        ((IMAGES[i : i + 1], LABELS[i : i + 1]) for i in range(5)),
    ],
)
def test_images_and_numbers_of_all_kinds_of_data(model, data):
    images, labels = collect(labeled_batches(model, data, 2))
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)
    assert labels.dtype == "int64"


def test_a_pair_is_cut_into_batches(model):
    sizes = [len(y) for _, y in labeled_batches(model, (IMAGES, LABELS), 2)]
    assert sizes == [2, 2, 1]


def test_batches_of_tensorflow(model):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("of TensorFlow")
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(2)
    images, labels = collect(labeled_batches(model, dataset, 1))
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize(
    "data, message",
    [
        ([], "must hold images"),
        (7, "a pair of images and classes"),
        ((IMAGES, LABELS[:4]), "5 images and 4 classes"),
        ((IMAGES, LABELS + 1), "from 0 to 2"),
        ((IMAGES, LABELS - 1), "from 0 to 2"),
        ((IMAGES, LABELS / 1), "from 0 to 2"),
        ((IMAGES, np.eye(4, dtype="int64")[LABELS]), "from 0 to 2"),
        ((IMAGES[:, :, :2], LABELS), r"the shape \(None, 1, 3, 1\)"),
    ],
)
def test_other_data_are_refused(model, data, message):
    with pytest.raises(ValueError, match=message):
        list(labeled_batches(model, data, 2))
