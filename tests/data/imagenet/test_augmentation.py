"""Which layers augment images, in which order and how at random."""

import keras
import numpy as np
import pytest

from keras_epsanet.data.imagenet import augmentation
from keras_epsanet.data.imagenet.augmentation import Augmentations

if keras.backend.backend() != "tensorflow":
    pytest.skip("made of TensorFlow's operations", allow_module_level=True)

import tensorflow as tf

NAMES = ("rand_augment", "random_erasing", "mix_up", "cut_mix")
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 16, 12, 3), "uint8")
LABELS = np.eye(2, dtype="float32")
KEY, OTHER = (tf.constant(key, "int64") for key in ((1, 2), (1, 5)))


def augment(names, key=KEY):
    """An image, a batch of them and its labels, augmented."""
    augmentations = Augmentations(names)
    image = augmentations.image(IMAGES[0], key)
    images, labels = augmentations.batch(
        tf.constant(IMAGES, "float32"), LABELS, key
    )
    return [np.asarray(x) for x in (image, images, labels)]


def are_same(results, others):
    return [np.array_equal(a, b) for a, b in zip(results, others)]


@pytest.mark.parametrize("name", NAMES)
def test_the_key_decides_what_becomes_of_images_or_batches(name):
    found = augment([name])
    assert all(are_same(found, augment([name])))
    of_image = name in augmentation.IMAGE_LAYERS
    assert found[0].dtype == "float32"
    for others in (augment([name], OTHER), (IMAGES[0], IMAGES, LABELS)):
        same_image, same_images, same_labels = are_same(found, others)
        assert (not same_image) == of_image
        assert (not same_images) == (not same_labels) == (not of_image)


@pytest.fixture
def other_settings():
    """Those of a model that is trained elsewhere in the process."""
    before = keras.config.dtype_policy(), keras.config.image_data_format()
    keras.config.set_dtype_policy("mixed_bfloat16")
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_dtype_policy(before[0])
    keras.config.set_image_data_format(before[1])


@pytest.fixture(scope="module")
def usual():
    return {name: augment([name]) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_keras_global_settings_change_nothing(name, usual, other_settings):
    for found, expected in zip(augment([name]), usual[name]):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_without_layers_images_stay_bytes():
    found = augment(())
    assert found[0].dtype == "uint8"
    assert all(are_same(found, (IMAGES[0], IMAGES, LABELS)))


@pytest.mark.parametrize(
    "name, argument, value",
    [
        ("rand_augment", "num_ops", 3),
        ("random_erasing", "fill_value", 7.0),
        ("mix_up", "alpha", 0.75),
        ("cut_mix", "factor", (0, 0.75)),
        ("mix_up", "seed", 5),
    ],
)
def test_arguments_are_those_of_keras_layers(name, argument, value):
    augmentations = Augmentations({name: {argument: value}})
    (layer,) = augmentations._image_layers + augmentations._batch_layers
    assert layer.name == name and layer.get_config()[argument] == value


@pytest.mark.parametrize("names", [NAMES, NAMES[::-1]])
def test_layers_run_in_the_given_order_each_with_keys_of_its_own(
    names, monkeypatch
):
    calls, keys = [], []

    class Layer:
        def __init__(self, name, *_):
            self.name = name

        def __call__(self, inputs):
            calls.append(self.name)
            for _ in range(2):
                key = self._get_seed_generator().next()
                keys.append(tuple(key.numpy()))
            return inputs

    monkeypatch.setattr(augmentation, "_make_layer", Layer)
    augment(names)
    of_images = [x for x in names if x in ("rand_augment", "random_erasing")]
    assert calls == of_images + [x for x in names if x not in of_images]
    assert len(set(keys[:4])) == len(set(keys[4:])) == 4


def test_the_chosen_operations_do_what_keras_does():
    layer = augmentation._make_layer(
        "rand_augment", "RandAugment", {"num_ops": 3}
    )
    images = tf.constant(IMAGES[:1], "float32")
    for i in range(3):
        keys = augmentation._Keys(tf.constant((i, 7), "int64"))
        layer._get_seed_generator = lambda backend=None: keys
        transformation = layer.get_random_transformation(images)
        found = layer.transform_images(images, transformation)
        expected = keras.layers.RandAugment.transform_images(
            layer, images, transformation
        )
        assert np.abs(found - images).max() > 1
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    "names", [["mix_up", "foo"], {"foo": {}}, "mix_up", ""]
)
def test_other_names_are_refused(names):
    with pytest.raises(ValueError, match="names among .*Received: aug"):
        Augmentations(names)
