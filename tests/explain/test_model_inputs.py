import keras
import numpy as np
import pytest

from keras_epsanet.explain.model_inputs import (
    as_input,
    as_model_takes,
    check_images,
    in_batches,
    run,
)


class Own(keras.Model):
    """A model whose graph does not say what it does."""

    def call(self, inputs):
        return inputs


def test_height_and_width_are_those_of_the_data_format():
    for data_format in ("channels_last", "channels_first"):
        image = keras.Input((None, None, None))
        layer = keras.layers.ZeroPadding2D(data_format=data_format)
        model = keras.Model(image, layer(image))
        _, size = check_images(model, np.ones((2, 3, 5, 7)))
        assert size == ((3, 5) if data_format == "channels_last" else (5, 7))


def test_tensors_and_bytes_are_taken():
    image = keras.Input((2, 2, 1))
    model = keras.Model(image, keras.layers.ReLU()(image))
    for images in (
        np.full((1, 2, 2, 1), 7, "uint8"),
        keras.ops.full((1, 2, 2, 1), 7.0),
    ):
        images, _ = check_images(model, images)
        assert run(model, images).tolist() == [[[[7]] * 2] * 2]
    tensor = as_input(model, np.zeros((1, 2, 2, 1), "uint8"))
    assert keras.backend.standardize_dtype(tensor.dtype) == "float32"


def test_other_models_are_refused():
    two = [keras.Input((2, 2, 1)) for _ in range(2)]
    both = keras.Model(two, keras.layers.Add()(two))
    with pytest.raises(ValueError, match="one input of images"):
        check_images(both, np.zeros((1, 2, 2, 1)))
    flat = keras.Input((4,))
    with pytest.raises(ValueError, match="one input of images"):
        check_images(keras.Model(flat, flat), np.zeros((1, 4)))
    with pytest.raises(ValueError, match="functional"):
        check_images(Own(), np.zeros((1, 2, 2, 1)))


@pytest.mark.parametrize(
    "images", [np.zeros((1, 2, 3, 1)), np.array([["a"]]), [], np.zeros((2, 2))]
)
def test_other_images_are_refused(images):
    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.ReLU()])
    with pytest.raises(ValueError, match=r"the shape \(None, 2, 2, 1\)"):
        check_images(model, images)


@pytest.mark.parametrize("size", [None, 16])
def test_an_image_has_the_size_that_a_model_takes(with_scales, size):
    image = np.zeros((24, 32, 3), "uint8")
    image[:, 16:] = 200
    batch = as_model_takes(with_scales(size), image)
    assert batch.dtype == "float32"
    assert batch.shape == (1, size or 24, size or 32, 3)
    # As bright, and in the same places.
    middle = batch.shape[2] // 2
    assert batch[:, :, : middle - 1].max() == 0
    np.testing.assert_allclose(batch[:, :, middle + 1 :], 200, atol=1e-3)


def test_a_detector_takes_an_image_normalized_and_padded(red_detector):
    image = np.full((40, 72, 3), 255, "uint8")
    batch = as_model_takes(red_detector, image)
    # 80×144 pixels, padded to multiples of 32.
    assert batch.shape == (1, 96, 160, 3) and batch.dtype == "float32"
    white = (1 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(batch[0, 79, 143], white, rtol=1e-4)
    assert not batch[0, 80:].any() and not batch[0, :, 144:].any()


def test_batches_hold_every_image_once():
    images = np.arange(7)
    parts = [images[part].tolist() for part in in_batches(images, 3)]
    assert parts == [[0, 1, 2], [3, 4, 5], [6]]


def test_it_runs_as_in_inference_and_returns_the_first():
    image = keras.Input((2, 2, 1))
    first = keras.layers.Dropout(0.9)(image)
    model = keras.Model(image, [first, 2 * image])
    x = np.ones((3, 2, 2, 1))
    found = run(model, x)
    assert found.dtype == "float32"
    np.testing.assert_array_equal(found, x)
