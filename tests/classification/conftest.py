"""What the tests of classifiers share: a few images and a small network."""

import numpy as np
import pytest

from keras_epsanet import EPSANet, training
from keras_epsanet.classification import models


def smallest(**kwargs):
    return EPSANet((1,), (16,), (3, 5), (1, 4), reduction=4, **kwargs)


@pytest.fixture(autouse=True)
def smallest_network(monkeypatch):
    """Makes `model="tiny"` a network that is traced in no time."""
    monkeypatch.setitem(models.MODELS, "tiny", smallest)


def make_dataset(number, classes=3, size=32):
    """Images of noise, of which the first pixel tells the number."""
    import tensorflow as tf

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (number, size, size, 3), "uint8")
    images[:, 0, 0, 0] = np.arange(number)
    labels = np.arange(number) % classes
    dataset = tf.data.Dataset.from_tensor_slices((images, labels))
    dataset.class_names = [f"class {i}" for i in range(classes)]
    dataset.num_images = number
    return dataset


@pytest.fixture
def dataset():
    """Function that makes a dataset of a number of images."""
    return make_dataset


@pytest.fixture
def recipe():
    """Function of a recipe's fields, with those of a tiny training."""

    def make(**fields):
        defaults = {
            "model": "tiny",
            "image_size": 32,
            "batch_size": 4,
            "warm_up_epochs": 0,
        }
        return training.ClassifierRecipe(**(defaults | fields))

    return make
