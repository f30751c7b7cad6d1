import keras
import numpy as np
import pytest

from keras_epsanet.weights.sample_images import MOST_IMAGES, read_batches


def make_images(count=40):
    generator = np.random.default_rng(1)
    return generator.integers(0, 256, (count, 4, 4, 3)).astype("uint8")


class Numbered(keras.utils.PyDataset):
    """Batches that are asked for by their numbers, as `fit` does."""

    def __init__(self, images):
        super().__init__()
        self.images = images

    @property
    def num_batches(self):
        return 4

    def __getitem__(self, i):
        return self.images[10 * i : 10 * (i + 1)], None


@pytest.fixture
def model():
    image = keras.Input((4, None, 3))
    return keras.Model(image, keras.layers.ReLU()(image))


@pytest.mark.parametrize(
    "kind",
    ["array", "tuple", "batches", "labels", "dataset", "one by one", "numbers"],
)
def test_images_come_in_any_form(model, kind):
    images = make_images()
    given = {
        "array": images,
        "tuple": (images, np.zeros(40)),
        "batches": [images[:33], images[33:]],
        "labels": [(images[:33], np.zeros(33)), (images[33:], np.zeros(7))],
        "one by one": (image[None] for image in images),
    }
    if kind == "numbers":
        given[kind] = Numbered(images)
    if kind == "dataset":
        import tensorflow as tf

        given[kind] = tf.data.Dataset.from_tensor_slices(
            (images, np.zeros(40))
        ).batch(16)
    batches = read_batches(given[kind], model)
    assert [len(batch) for batch in batches] == [32, 8]
    assert all(batch.dtype == "float32" for batch in batches)
    np.testing.assert_array_equal(np.concatenate(batches), images)


def test_images_without_end_are_read_to_the_limit(model):
    read = []

    def batches():
        while True:
            read.append(100)
            yield make_images(100)

    assert sum(map(len, read_batches(batches(), model))) == MOST_IMAGES
    assert sum(read) < MOST_IMAGES + 100


@pytest.mark.parametrize(
    "images, reason",
    [
        (np.ones((4, 4, 4, 1)), "of the model's shape"),
        (np.ones((4, 5, 4, 3)), "of the model's shape"),
        (np.ones((4, 4, 3)), "of the model's shape"),
        (np.full((4, 4, 4, 3), np.inf), "finite"),
        ([], "must be an image"),
        ({"image": np.ones((4, 4, 4, 3))}, "of the model's shape"),
        (7, "must be an array"),
    ],
)
def test_wrong_images_are_refused(model, images, reason):
    with pytest.raises(ValueError, match=f"{reason}.*Received"):
        read_batches(images, model)


def test_a_model_of_several_inputs_is_refused():
    two = [keras.Input((4, 4, 3)) for _ in range(2)]
    model = keras.Model(two, keras.layers.Add()(two))
    with pytest.raises(ValueError, match="of the model's shape.*Received"):
        read_batches(np.ones((4, 4, 4, 3)), model)
