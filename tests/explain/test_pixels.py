import keras
import numpy as np
import pytest

from keras_epsanet.explain import pixels as drawing
from keras_epsanet.models.preprocessing import preprocess_input

matplotlib = pytest.importorskip("matplotlib")


def turbo(value):
    return 255 * np.array(matplotlib.colormaps["turbo"](value)[:3])


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_map_lies_half_over_the_image(value):
    image = np.full((2, 3, 3), 100, "uint8")
    found = drawing.overlay(image, np.full((2, 3), value))
    np.testing.assert_allclose(
        found, np.broadcast_to((100 + turbo(value)) / 2, (2, 3, 3)), atol=1
    )
    np.testing.assert_array_equal(
        drawing.overlay(image, np.full((2, 3), value), strength=0), image
    )


def test_the_strength_is_the_share_of_the_map():
    image = np.full((1, 1, 3), 100, "uint8")
    found = drawing.overlay(image, np.ones((1, 1)), strength=0.8)
    np.testing.assert_allclose(found[0, 0], 20 + 0.8 * turbo(1.0), atol=1)


def test_hot_pixels_are_red_and_cold_ones_blue():
    heat = np.array([[1.0, 0.1]])
    (hot, cold) = drawing.overlay(np.zeros((1, 2, 3)), heat)[0]
    assert hot[0] > 2 * hot[2] and cold[2] > 2 * cold[1]


def test_images_of_all_ranges_are_drawn_alike():
    keras.config.set_image_data_format("channels_last")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), "uint8")
    pixels[0, 0, 0], pixels[0, 0, 1] = 0, 255
    normalized = preprocess_input(pixels.astype("float32"))
    for images in (pixels, pixels / 255, normalized):
        np.testing.assert_array_equal(drawing.as_pixels(images), pixels)
    first = np.moveaxis(pixels, -1, 1)
    np.testing.assert_array_equal(
        drawing.as_pixels(first, "channels_first"), pixels
    )


def test_gray_images_and_white_ones_are_drawn():
    gray = np.array([0.0, 0.25, 1.0]).reshape(1, 1, 3, 1)
    found = drawing.as_pixels(gray)
    expected = np.repeat([0, 64, 255], 3).reshape(1, 1, 3, 3)
    np.testing.assert_array_equal(found, expected)
    dark = np.array([0.0, 1, 2]).reshape(1, 1, 3, 1)  # From 0 to 255.
    assert drawing.as_pixels(dark).max() == 2
