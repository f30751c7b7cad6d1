"""Every key of randomness differs by epoch, step, image and worker."""

import keras
import numpy as np
import pytest

from keras_epsanet.data import imagenet
from keras_epsanet.data.imagenet import augmentation, crops
from keras_epsanet.data.imagenet.source import Source

if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)

import tensorflow as tf

NUM, BATCH, EPOCHS = 4, 4, 3


class Images:
    """Images without files, of which the first is always the next."""

    num_images = NUM

    def chunks(self, slots, seed=None):
        def locate(step):
            positions = step * slots.batch_size + slots.begin
            positions += tf.range(slots.size, dtype="int64")
            return positions, positions % NUM, (positions,)

        return tf.data.Dataset.range(slots.first, 10**6).map(locate)

    def load(self, item):
        return tf.constant(b""), tf.constant(0, "int64")


class Keys:
    """In place of the augmentations: passes on the chosen keys."""

    purpose = None

    def __init__(self, names):
        pass

    def image(self, image, key):
        return key if self.purpose == "augmentation" else image

    def batch(self, images, labels, key):
        return (key[None] if self.purpose == "mixing" else images), labels


@pytest.fixture
def draw(monkeypatch):
    """Function that returns all keys, or random numbers, of some epochs."""

    def draw(purpose, seed=0):
        monkeypatch.setattr(Keys, "purpose", purpose)
        monkeypatch.setattr(augmentation, "Augmentations", Keys)
        monkeypatch.setattr(
            crops, "random_crop", lambda encoded, uniforms, *_: uniforms
        )
        images = Images()
        source = Source(["a"], images, images)
        keys = []
        for worker in range(2):
            batches = imagenet.training_batches(
                source, BATCH, seed=seed, shard=(worker, 2)
            )
            for keys_of_step, _ in batches.take(EPOCHS * NUM // BATCH):
                keys += map(tuple, np.asarray(keys_of_step))
        return keys

    return draw


@pytest.mark.parametrize(
    "purpose, number",
    [
        ("crop", EPOCHS * NUM),
        ("augmentation", EPOCHS * NUM),
        ("mixing", 2 * EPOCHS),
    ],
)
def test_no_key_is_used_twice(draw, purpose, number):
    keys = draw(purpose)
    assert len(keys) == len(set(keys)) == number
    assert not set(keys) & set(draw(purpose, seed=1))
