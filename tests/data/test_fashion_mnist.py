import pathlib

import numpy as np
import pytest

from keras_epsanet import data

FOLDER = pathlib.Path(data.__file__).parent


@pytest.mark.parametrize("split, each", [("train", 1000), ("test", 200)])
def test_every_class_has_as_many_images(split, each):
    dataset = data.fashion_mnist(split)
    labels = np.array([label for _, label in dataset.as_numpy_iterator()])
    assert labels.dtype == "int64"
    assert np.bincount(labels).tolist() == [each] * 10
    assert dataset.num_images == 10 * each
    assert len(dataset.class_names) == 10


def test_images_are_gray_bytes():
    dataset = data.fashion_mnist("test")
    assert dataset.element_spec[0].dtype == "uint8"
    assert dataset.element_spec[0].shape == (28, 28, 1)
    images = np.stack([x for x, _ in dataset.take(50).as_numpy_iterator()])
    # Light things on black.
    assert images.max() == 255 and np.median(images[:, :2]) == 0


def test_order_is_mixed():
    labels = [int(label) for _, label in data.fashion_mnist("train").take(100)]
    assert len(set(labels)) == 10


def test_no_test_image_is_in_the_training_part():
    train, test = (
        {image.tobytes() for image, _ in part.as_numpy_iterator()}
        for part in map(data.fashion_mnist, ("train", "test"))
    )
    assert not train & test


def test_unknown_split_is_refused():
    with pytest.raises(ValueError, match='"train" or "test".*split=val'):
        data.fashion_mnist("val")


def test_file_is_small_and_has_its_license_beside_it():
    license = FOLDER / "LICENSE.fashion_mnist"
    size = (FOLDER / "fashion_mnist.npz").stat().st_size
    assert size + license.stat().st_size <= 6e6
    text = license.read_text()
    assert "Zalando" in text and "The MIT License" in text


def test_classes_have_the_names_and_the_order_of_the_original():
    """That of https://github.com/zalandoresearch/fashion-mnist#labels."""
    assert data.fashion_mnist("test").class_names == [
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ]
