import itertools

import keras
import numpy as np
import pytest

from keras_epsanet.classification import batches
from keras_epsanet.classification.batches import (
    evaluation_batches,
    steps_per_epoch,
    training_batches,
)
from keras_epsanet.data.keys import AUGMENTATION, MIXING, random_key

if keras.backend.backend() != "tensorflow":
    pytest.skip("the pipeline needs TensorFlow", allow_module_level=True)


def numbers(batches, count):
    """Which images the first batches hold, an array `(count, batch)`."""
    batches = itertools.islice(batches.as_numpy_iterator(), count)
    return np.stack([images[:, 0, 0, 0] for images, _ in batches])


def test_every_epoch_has_all_images_in_a_new_order(dataset, recipe):
    images, options = dataset(10), recipe()
    assert steps_per_epoch(images, options) == 3
    found = numbers(training_batches(images, options), 9).reshape(3, 12)
    for epoch in found:
        # The last batch is there, filled up with others.
        assert set(epoch[:10]) == set(range(10))
    assert len({tuple(epoch) for epoch in found}) == 3


@pytest.mark.parametrize("first", [0, 1, 3, 5])
def test_batches_are_a_function_of_seed_and_step(dataset, recipe, first):
    images = dataset(10)
    options = recipe(flip=True, augmentations=("random_erasing", "mix_up"))
    keras.utils.set_random_seed(0)
    whole = training_batches(images, options).take(7)
    keras.utils.set_random_seed(9)
    rest = training_batches(images, options, first).take(7 - first)
    pairs = zip(
        itertools.islice(whole.as_numpy_iterator(), first, None),
        rest.as_numpy_iterator(),
        strict=True,
    )
    for expected, found in pairs:
        for array, other in zip(expected, found, strict=True):
            np.testing.assert_array_equal(array, other)


def test_another_seed_gives_another_order(dataset, recipe):
    found = [
        numbers(training_batches(dataset(10), recipe(seed=seed)), 3)
        for seed in (0, 1, 2**31 - 2)
    ]
    assert len({array.tobytes() for array in found}) == 3


def changed(dataset, recipe, **fields):
    """Which images of two epochs are not as they were."""
    before = {
        int(image[0, 0, 0]): image for image, _ in dataset.as_numpy_iterator()
    }
    batches = training_batches(dataset, recipe(**fields)).take(2)
    found = []
    for images, _ in batches.as_numpy_iterator():
        mirrored = images[:, :, ::-1]
        for image, mirror in zip(images, mirrored):
            same = (before.get(int(image[0, 0, 0]), -1) == image).all()
            other = before.get(int(mirror[0, 0, 0]), -1)
            assert same or (other == mirror).all()
            found.append(not same)
    return found


def test_flip_mirrors_about_half_of_the_images(dataset, recipe):
    images = dataset(64)
    assert not any(changed(images, recipe, batch_size=64))
    found = changed(images, recipe, batch_size=64, flip=True)
    assert 40 < sum(found) < 88
    # Others in the second epoch.
    assert found[:64] != found[64:]


def test_augmentations_are_those_of_the_recipe(dataset, recipe):
    images = dataset(8)
    for augmentations, mixed in ((("mix_up",), True), (None, False)):
        batches = training_batches(images, recipe(augmentations=augmentations))
        _, labels = next(iter(batches))
        assert (labels.numpy().max(axis=1) < 1).any() == mixed


def test_a_share_of_a_batch_is_a_step(dataset, recipe):
    options = recipe(batch_size=6, accumulation_steps=2)
    images, labels = next(iter(training_batches(dataset(7), options)))
    assert images.shape == (3, 32, 32, 3) and labels.shape == (3, 3)
    assert steps_per_epoch(dataset(7), options) == 3


def test_evaluation_has_every_image_once_in_order(dataset, recipe):
    batches = list(evaluation_batches(dataset(10), recipe()))
    images, labels = (np.concatenate(x) for x in zip(*batches))
    np.testing.assert_array_equal(images[:, 0, 0, 0], range(10))
    np.testing.assert_array_equal(labels.argmax(axis=1), np.arange(10) % 3)
    assert images.dtype == "uint8" and (labels.sum(axis=1) == 1).all()


def test_images_of_other_sizes_are_resized_and_gray_ones_made_rgb(recipe):
    import tensorflow as tf

    gray = tf.data.Dataset.from_tensors((tf.zeros((9, 7, 1), "uint8"), 1))
    gray.class_names, gray.num_images = ["a", "b"], 1
    [(images, labels)] = evaluation_batches(gray, recipe(image_size=40))
    assert images.shape == (1, 40, 40, 3)
    assert labels.numpy().tolist() == [[0, 1]]


@pytest.mark.parametrize("first", [0, 4])
def test_every_image_and_every_batch_has_a_key_of_its_own(
    dataset, recipe, monkeypatch, first
):
    class Keys:
        def __init__(self, names):
            pass

        def image(self, image, key):
            return key

        def batch(self, keys, labels, key):
            return keys, key

    monkeypatch.setattr(batches, "Augmentations", Keys)
    options = recipe(seed=5)
    found = batches.training_batches(dataset(10), options, first)
    for step, (keys, key) in enumerate(found.take(4), start=first):
        expected = [
            random_key(5, AUGMENTATION, i)
            for i in np.arange(4 * step, 4 * step + 4)
        ]
        np.testing.assert_array_equal(keys, expected)
        np.testing.assert_array_equal(key, random_key(5, MIXING, step))


def test_resized_images_are_rounded(dataset, recipe):
    images = dataset(3, size=40)
    ((found, _),) = evaluation_batches(images, recipe(image_size=32))
    arrays = np.stack([x for x, _ in images.as_numpy_iterator()])
    resize = keras.layers.Resizing(32, 32, dtype="float32")
    expected = np.round(resize(arrays.astype("float32")))
    np.testing.assert_array_equal(found, expected)
