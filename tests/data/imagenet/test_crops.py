import keras
import numpy as np
import pytest

from keras_epsanet.data.imagenet import crops

if keras.backend.backend() != "tensorflow":
    pytest.skip("made of TensorFlow's operations", allow_module_level=True)

import tensorflow as tf

LARGEST = 1 - 2.0**-23  # Of the random numbers in [0, 1).


def box(vertical, horizontal, shape=(5, 7), area=0.3):
    """The part for such a share of the area, a square, and such offsets."""
    uniforms = np.zeros(crops.NUM_UNIFORMS, "float32")
    uniforms[: crops.ATTEMPTS] = (area - 0.08) / 0.92
    uniforms[crops.ATTEMPTS : -3] = 0.5
    uniforms[-3:-1] = vertical, horizontal
    return crops.random_box(shape, tf.constant(uniforms)).numpy().tolist()


def test_every_offset_is_drawn_as_often():
    # 3×3 pixels of 5×7.
    steps = (np.arange(60) + 0.5) / 60
    tops = [box(x, 0)[0] for x in steps]
    lefts = [box(0, x)[1] for x in steps]
    assert np.bincount(tops).tolist() == [20] * 3
    assert np.bincount(lefts).tolist() == [12] * 5


@pytest.mark.parametrize("shape", [(5, 7), (400, 350), (3999, 6000)])
def test_parts_stay_inside(shape):
    top, left, height, width = box(LARGEST, LARGEST, shape)
    assert (top + height, left + width) == shape
    assert box(0, 0, shape)[:2] == [0, 0]


def test_where_nothing_fits_the_middle_is_taken():
    assert box(0.9, 0.9, (4, 40), area=1.0) == [0, 17, 4, 5]


def boxes_of_torchvision(shape, uniforms):
    """`RandomResizedCrop.get_params`, with given random numbers."""
    height, width = shape
    for area, ratio in zip(uniforms[:10], uniforms[10:20]):
        area = height * width * (0.08 + 0.92 * area)
        ratio = np.exp(np.log(3 / 4) + np.log(16 / 9) * ratio)
        w, h = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top = int(uniforms[20] * (height - h + 1))
            return [top, int(uniforms[21] * (width - w + 1)), h, w]
    w, h = width, height
    if width < 3 / 4 * height:
        h = round(width / (3 / 4))
    elif width > 4 / 3 * height:
        w = round(height * (4 / 3))
    return [(height - h) // 2, (width - w) // 2, h, w]


@pytest.mark.parametrize(
    "shape", [(300, 400), (401, 299), (90, 1000), (1000, 90), (2, 1), (1, 1)]
)
def test_parts_are_those_of_torchvision(shape):
    random = np.random.default_rng(0)
    for i in range(20):
        uniforms = random.random(crops.NUM_UNIFORMS).astype("float32")
        if i % 2:
            # Too large to fit, but for the last attempt now and then.
            uniforms[:9] = LARGEST
            uniforms[10:19] = LARGEST if i % 4 == 1 else 0
        found = crops.random_box(shape, tf.constant(uniforms)).numpy()
        expected = boxes_of_torchvision(shape, uniforms.astype("float64"))
        assert found.tolist() == expected


def jpeg(height, width):
    small = np.random.default_rng(0).integers(0, 256, (height, width, 3))
    image = tf.constant(small, "uint8")
    return tf.io.encode_jpeg(image, quality=100, chroma_downsampling=False)


def decode(encoded):
    return tf.io.decode_jpeg(encoded, dct_method="INTEGER_ACCURATE")


def uniforms_of(box, shape, flip=0.9):
    """Random numbers that choose a square at some offset."""
    top, left, side = box
    uniforms = np.full(crops.NUM_UNIFORMS, 0.5, "float32")
    uniforms[:10] = (side**2 / np.prod(shape) - 0.08) / 0.92
    rest = np.array(shape) - side + 1
    uniforms[-3:-1] = (np.array([top, left]) + 0.5) / rest
    uniforms[-1] = flip
    return tf.constant(uniforms)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("side", [5, 8, 9, 16])
def test_parts_are_smoothed_where_they_are_reduced(side, antialias):
    encoded, shape = jpeg(20, 24), (20, 24)
    image = tf.cast(decode(encoded), "float32")
    part = image[2 : 2 + side, 3 : 3 + side]
    crop = crops.random_crop(
        encoded, uniforms_of((2, 3, side), shape), 8, antialias
    )
    found = crop.numpy().astype(int)
    expected = tf.image.resize(part, (8, 8), antialias=antialias)
    # Of 255, by rounding.
    assert np.abs(found - expected).max() <= 1
    other = tf.image.resize(part, (8, 8), antialias=not antialias)
    assert (np.abs(found - other).max() > 9) == (side > 8)


def test_parts_are_smoothed_that_are_reduced_along_one_side(monkeypatch):
    encoded = jpeg(20, 24)
    part = tf.cast(decode(encoded), "float32")[2:8, 3:19]
    monkeypatch.setattr(
        crops, "random_box", lambda *_: tf.constant([2, 3, 6, 16])
    )
    crop = crops.random_crop(encoded, tf.ones(crops.NUM_UNIFORMS), 8)
    crop = crop.numpy().astype(int)
    smooth, rough = (
        tf.image.resize(part, (8, 8), antialias=x) for x in (True, False)
    )
    assert np.abs(crop - smooth).max() <= 1
    assert np.abs(crop - rough).max() > 9


@pytest.mark.parametrize("side", [60, 95, 96, 97, 150, 200])
def test_parts_are_resized_and_rounded_as_by_torchvision(side):
    PIL = pytest.importorskip("PIL.Image")
    encoded, shape = jpeg(200, 240), (200, 240)
    crop = crops.random_crop(encoded, uniforms_of((0, 3, side), shape), 96)
    image = PIL.fromarray(decode(encoded).numpy()).crop((3, 0, 3 + side, side))
    expected = np.asarray(image.resize((96, 96), PIL.Resampling.BILINEAR))
    differences = np.abs(crop.numpy().astype(int) - expected)
    # Of 255. With no rounding between the directions, over a tenth differ.
    assert differences.max() <= 1 and differences.mean() < 0.05


@pytest.mark.parametrize("number, flips", [(0, True), (0.49, True), (0.5, 0)])
def test_half_of_the_numbers_flip(number, flips):
    encoded, shape = jpeg(20, 24), (20, 24)
    plain, other = (
        crops.random_crop(encoded, uniforms_of((2, 3, 9), shape, x), 8).numpy()
        for x in (LARGEST, number)
    )
    assert (plain != plain[:, ::-1]).any()
    np.testing.assert_array_equal(other, plain[:, ::-1] if flips else plain)


@pytest.mark.parametrize("shape", [(31, 31), (40, 61), (62, 40), (33, 79)])
@pytest.mark.parametrize("shorter, size", [(20, 16), (21, 16), (17, 17)])
def test_the_middle_is_that_of_torchvision(shape, shorter, size):
    PIL = pytest.importorskip("PIL.Image")
    encoded = jpeg(*shape)
    image = PIL.fromarray(decode(encoded).numpy())
    height, width = (shorter * n // min(shape) for n in shape)
    image = image.resize((width, height), PIL.Resampling.BILINEAR)
    top, left = round((height - size) / 2), round((width - size) / 2)
    image = image.crop((left, top, left + size, top + size))
    crop = crops.center_crop(encoded, shorter, size).numpy().astype(int)
    assert crop.shape == (size, size, 3)
    assert np.abs(crop - np.asarray(image)).max() <= 1  # of 255
