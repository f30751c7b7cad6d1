import keras
import numpy as np
import pytest

from keras_epsanet.data.coco.transforms import (
    FORMATS,
    padded_size,
    resized_size,
    transform,
)

if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)


# MMDetection's `rescale_size`: to the nearest integer.
@pytest.mark.parametrize(
    "height, width, expected",
    [
        (480, 640, (800, 1067)),  # 1066.67
        (640, 480, (1067, 800)),
        (427, 640, (800, 1199)),  # 1199.06
        (375, 500, (800, 1067)),
        (300, 640, (625, 1333)),  # 624.84
        (612, 612, (800, 800)),
        (800, 1333, (800, 1333)),
        (1, 2000, (1, 1333)),
        (3000, 1, (1333, 1)),  # 0.44: no image is without pixels.
    ],
)
def test_sides_are_rounded_to_the_nearest(height, width, expected):
    assert resized_size((height, width), (800, 1333)) == expected


@pytest.mark.parametrize(
    "size, pad_to, expected",
    [
        ((64, 65), 32, (64, 96)),
        ((63, 1), 32, (64, 32)),
        ((30, 90), (96, 128), (96, 128)),
    ],
)
def test_padding_goes_to_the_next_multiple(size, pad_to, expected):
    assert padded_size(size, pad_to) == expected


@pytest.mark.parametrize("flip", [False, True])
def test_height_and_width_have_their_own_scale(flip):
    import tensorflow as tf

    pixels = np.zeros((10, 40, 3), "uint8")
    pixels[2:6, 4:12] = 255
    element = {
        "images": tf.constant(pixels),
        "boxes": tf.constant([[4.0, 2, 12, 6], [-1, -1, -1, -1]]),
        "labels": tf.constant([3, -1]),
        "original_size": tf.constant([10, 40]),
        "image_size": tf.constant([30, 80]),
    }
    found = transform(element, tf.constant(flip), "xyxy")
    x1, x2 = (56, 72) if flip else (8, 24)
    np.testing.assert_allclose(
        found["boxes"], [[x1, 6, x2, 18], [-1, -1, -1, -1]], atol=1e-5
    )
    rows, columns = np.nonzero(found["images"].numpy()[..., 0] > 0.066)
    edges = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    np.testing.assert_allclose(edges, [x1, 6, x2, 18], atol=1)


@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_those_of_keras(name):
    corners = np.array([[3.0, 4, 10, 19], [1, 0, 2, 5]], "float32")
    expected = keras.utils.bounding_boxes.convert_format(
        corners, "xyxy", name, height=32, width=32
    )
    found = np.stack(FORMATS[name](*corners.T), axis=-1)
    np.testing.assert_allclose(found, expected)
