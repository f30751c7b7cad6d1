import io

import keras
import numpy as np
import PIL.Image
import PIL.JpegImagePlugin
import pytest

from keras_epsanet.data import bad_images
from keras_epsanet.data.bad_images import (
    QUALITY,
    BadImages,
    as_jpeg,
    check_share,
)


def encode(kind, mode="RGB", **options):
    random = np.random.default_rng(0)
    image = PIL.Image.fromarray(random.integers(0, 256, (16, 24, 3), "uint8"))
    file = io.BytesIO()
    image.convert(mode).save(file, kind, **options)
    return file.getvalue()


needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="decodes with TensorFlow"
)


@needs_tensorflow
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_in_color_or_gray_stays_as_it_is(mode):
    contents = encode("JPEG", mode, quality=31)
    assert as_jpeg(contents, "a") == contents


@needs_tensorflow
@pytest.mark.parametrize(
    "kind, mode",
    [
        ("JPEG", "CMYK"),
        ("PNG", "RGB"),
        ("PNG", "RGBA"),
        ("WEBP", "RGB"),
        ("BMP", "RGB"),
        ("GIF", "P"),
    ],
)
def test_other_images_become_jpegs_without_loss_of_colors(kind, mode):
    contents = encode(kind, mode)
    sizes = []
    for quality in (1, 50, 100):
        found = as_jpeg(contents, "a", quality)
        sizes.append(len(found))
        image = PIL.Image.open(io.BytesIO(found))
        assert (image.format, image.mode, image.size) == (
            "JPEG",
            "RGB",
            (24, 16),
        )
        # All of the pixels have a color of their own.
        assert PIL.JpegImagePlugin.get_sampling(image) == 0
    assert sizes == sorted(set(sizes))
    assert as_jpeg(contents, "a") == as_jpeg(contents, "a", QUALITY)
    original = PIL.Image.open(io.BytesIO(contents)).convert("RGB")
    distance = np.asarray(image, int) - np.asarray(original, int)
    assert np.abs(distance).max() <= 4  # of 255


@needs_tensorflow
def test_a_jpeg_that_is_cut_off_is_refused():
    contents = encode("JPEG")
    with pytest.raises(ValueError, match="a.jpg cannot be decoded"):
        as_jpeg(contents[: len(contents) // 2], "a.jpg")


@pytest.mark.parametrize(
    "bad, num_images", [(3, 3), (3, 10), (4, 400), (4, 499), (50, 5000)]
)
def test_a_few_bad_images_are_allowed(bad, num_images):
    names = [f"{i}.jpg" for i in range(bad)]
    check_share(names, num_images)
    images = BadImages(num_images)
    with pytest.warns(UserWarning, match="skipped"):
        for name in names:
            images.add(name, "an error")
    assert images.names == names


@pytest.mark.parametrize(
    "bad, num_images", [(4, 10), (4, 399), (5, 499), (51, 5000)]
)
def test_more_than_one_percent_and_three_are_refused(bad, num_images):
    names = [f"{i}.jpg" for i in range(bad)]
    message = f"1 % .* bad: {bad} of {num_images}, such as .*{names[-1]}"
    with pytest.raises(ValueError, match=message):
        check_share(names, num_images)
    images = BadImages(num_images)
    with pytest.warns(UserWarning), pytest.raises(ValueError, match=message):
        for name in names:
            images.add(name, "an error")


def test_a_bad_image_counts_once_and_warns_once(recwarn):
    images = BadImages(3)
    for _ in range(9):
        images.add("a.jpg", "an error")
    assert images.names == ["a.jpg"] and len(recwarn) == 1


def test_names_can_be_printed():
    images = BadImages(3)
    with pytest.warns(UserWarning):
        images.add("\udcfc.jpg", "an error")
    assert images.names == [r"\xfc.jpg"]


def test_what_is_encoded_anew_loses_little_and_few_are_tried():
    # The help and the docs say so.
    assert (QUALITY, bad_images.ATTEMPTS) == (95, 100)
