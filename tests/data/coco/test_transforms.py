import keras
import numpy as np
import pytest

from keras_epsanet.data.coco.transforms import (
    FORMATS,
    PAD_TO,
    pad_and_batch,
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


def test_images_are_bilinear_without_antialiasing_and_normalized():
    """A new pixel is the mean of the two in the middle of the old four."""
    import tensorflow as tf

    row = np.array([0, 10, 90, 200, 0, 30, 70, 255], "uint8")
    element = {
        "images": tf.constant(np.tile(row[None, :, None], (2, 1, 3))),
        "boxes": tf.zeros((1, 4)),
        "labels": tf.constant([0]),
        "original_size": tf.constant([2, 8]),
        "image_size": tf.constant([2, 2]),
    }
    found = transform(element, tf.constant(False), "xyxy")["images"]
    # The means and deviations of ImageNet.
    expected = [
        (50 / 255 - mean) / deviation
        for mean, deviation in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))
    ]
    np.testing.assert_allclose(found, np.full((2, 2, 3), expected), rtol=1e-4)


@pytest.mark.parametrize(
    "pad_to, size", [(32, (64, 96)), (48, (48, 96)), ((90, 70), (90, 70))]
)
@pytest.mark.parametrize("drop", [False, True])
def test_batches_are_padded_at_the_bottom_and_the_right(pad_to, size, drop):
    import tensorflow as tf

    sides = tf.data.Dataset.from_tensor_slices([(33, 60), (40, 65), (7, 8)])
    images = sides.map(
        lambda side: {"images": tf.ones(tf.concat((side, (3,)), 0))}
    )
    images = images.map(
        lambda x: {"images": tf.ensure_shape(x["images"], (None, None, 3))}
    )
    first, *rest = pad_and_batch(images, 2, pad_to, drop)
    first = first["images"].numpy()
    assert first.shape == (2, *size, 3) and len(rest) == (0 if drop else 1)
    for image, (height, width) in zip(first, ((33, 60), (40, 65))):
        assert image[:height, :width].all()
        assert image.sum() == height * width * 3


def test_sides_are_multiples_of_the_stride_of_the_coarsest_stage():
    assert PAD_TO == 32
