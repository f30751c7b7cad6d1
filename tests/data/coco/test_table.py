import io

import keras
import numpy as np
import PIL.Image
import pytest

from keras_epsanet.data.bad_images import BadImages
from keras_epsanet.data.coco.annotations import Image
from keras_epsanet.data.coco.table import Table, read_image

if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)


def write(path, size, orientation):
    """A JPEG with a light half on the left as it is stored."""
    height, width = size
    pixels = np.zeros((height, width, 3), "uint8")
    pixels[:, : width // 2] = 200
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    encoded = io.BytesIO()
    PIL.Image.fromarray(pixels).save(encoded, "JPEG", exif=exif)
    path.write_bytes(encoded.getvalue())


def read(path, size):
    return read_image(Image(1, str(path), *size, None, None, [], []))


def is_light(image):
    """Whether the left, right, upper and lower quarters are light."""
    height, width = image.shape[:2]
    parts = (
        image[:, : width // 4],
        image[:, -width // 4 :],
        image[: height // 4],
        image[-height // 4 :],
    )
    return [bool(part.min() > 100) for part in parts]


LEFT, _, UPPER, _ = np.eye(4, dtype=bool).tolist()


# 3: upside down. 6 and 8: turned by a quarter.
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_pixels_are_those_that_are_stored(tmp_path, orientation):
    path = tmp_path / "a.jpg"
    for size in ((32, 64), (48, 48)):
        write(path, size, orientation)
        image = read(path, size)
        assert image.shape == (*size, 3)
        assert is_light(image) == LEFT


def test_an_image_is_turned_where_the_annotations_saw_it_upright(tmp_path):
    path = tmp_path / "a.jpg"
    write(path, (32, 64), 6)
    image = read(path, (64, 32))
    assert image.shape == (64, 32, 3)
    assert is_light(image) == UPPER


@pytest.mark.parametrize("size", [(32, 65), (31, 64), (64, 32)])
@pytest.mark.parametrize("orientation", [1, 3])
def test_another_size_is_refused(tmp_path, size, orientation):
    path = tmp_path / "a.jpg"
    write(path, (32, 64), orientation)
    with pytest.raises(ValueError, match=r"a.jpg of \(32, 64\), not \("):
        read(path, size)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="a.jpg cannot be read"):
        read(tmp_path / "a.jpg", (8, 8))


@pytest.mark.parametrize("replace", [False, True])
def test_an_image_that_cannot_be_read_is_none_or_the_next(tmp_path, replace):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    write(tmp_path / "good.jpg", (32, 64), 1)
    images = [
        Image(
            number,
            str(tmp_path / name),
            32,
            64,
            np.array([[1, 2, 3, 4]], "float32"),
            np.array([5], "int32"),
            [None],
            [number],
        )
        for number, name in ((70, "bad.jpg"), (80, "good.jpg"))
    ]
    bad = BadImages(9)
    sizes = 2 * [(32, 64)]
    table = Table(images, sizes, sizes, 2, bad, replace)
    element = table.read(0, False, False)
    assert bad.names == [str(tmp_path / "bad.jpg")]
    assert int(element["image_id"]) == (80 if replace else -1)
    assert bool(element["images"].numpy().any()) is replace
    assert list(element["labels"].numpy()) == [5 if replace else -1, -1]
    assert int(table.read(1, False, False)["image_id"]) == 80
