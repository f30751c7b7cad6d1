import io

import keras
import numpy as np
import PIL.Image
import pytest

from keras_epsanet.data.bad_images import BadImages
from keras_epsanet.data.coco.annotations import Image
from keras_epsanet.data.coco.masks import crop_objects, encode_planes
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


SIZES = [(32, 64), (40, 20)]
RESIZED = [(64, 128), (80, 40)]
PADDED = [(64, 128), (96, 64)]
OUTLINES = [[[2, 3, 12, 3, 12, 30]], [[1, 1, 9, 1, 9, 9]], [[5, 5, 9, 9, 5, 9]]]


@pytest.fixture
def table(tmp_path):
    """One wide image with an object, and a tall one with three; two rows."""
    images = []
    for i, (size, number) in enumerate(zip(SIZES, (1, 3))):
        write(tmp_path / f"{i}.jpg", size, 1)
        images.append(
            Image(
                70 + i,
                str(tmp_path / f"{i}.jpg"),
                *size,
                np.arange(4 * number, dtype="float32").reshape(-1, 4) + 100 * i,
                np.arange(number, dtype="int32") + 10 * i,
                OUTLINES[:number],
                list(range(number)),
            )
        )
    return Table(images, RESIZED, PADDED, 2, BadImages(9), replace=True)


@pytest.mark.parametrize("flip", [False, True])
def test_an_image_has_its_own_objects_and_sizes(table, flip):
    found = {k: x.numpy() for k, x in table.read(1, flip, True).items()}
    assert found["images"].shape == (40, 20, 3) and found["image_id"] == 71
    assert found["original_size"].tolist() == [40, 20]
    assert found["image_size"].tolist() == [80, 40]
    # The first of them, as many as there are rows.
    assert found["boxes"].tolist() == [
        [100, 101, 102, 103],
        [104, 105, 106, 107],
    ]
    assert found["labels"].tolist() == [10, 11]
    masks, grids = crop_objects(
        OUTLINES[:2], SIZES[1], RESIZED[1], PADDED[1], flip, 2
    )
    np.testing.assert_array_equal(found["masks"], masks)
    np.testing.assert_array_equal(found["mask_grids"], grids)
    other = table.read(0, flip, False)
    assert other["labels"].numpy().tolist() == [0, -1]
    assert other["boxes"].numpy().tolist() == [[0, 1, 2, 3], [-1] * 4]
    assert "masks" not in other


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("masks", [False, True])
def test_what_was_changed_is_read(table, flip, masks):
    """Cut to the lower part, with the second of the objects alone."""
    seen = []

    def augment(pixels, boxes, labels, planes, number):
        seen.append((pixels, boxes, labels, planes, number))
        planes = planes[1:, 4:] if masks else None
        return pixels[4:], boxes[1:] + 5, labels[1:], planes, (72, 40), (96, 64)

    found = table.read_augmented(1, flip, 9, masks, augment)
    found = {name: x.numpy() for name, x in found.items()}
    ((pixels, boxes, labels, planes, number),) = seen
    assert pixels.shape == (40, 20, 3) and number == 9
    assert len(boxes) == len(labels) == 2
    np.testing.assert_array_equal(found["images"], pixels[4:])
    assert found["image_id"] == 71
    assert found["original_size"].tolist() == [36, 20]
    assert found["image_size"].tolist() == [72, 40]
    assert found["boxes"].tolist() == [[109, 110, 111, 112], [-1] * 4]
    assert found["labels"].tolist() == [11, -1]
    if not masks:
        assert planes is None and "masks" not in found
        return
    assert planes.shape == (2, 40, 20)
    runs = encode_planes(planes[1:, 4:])
    expected = crop_objects(runs, (36, 20), (72, 40), (96, 64), flip, 2)
    np.testing.assert_array_equal(found["masks"], expected[0])
    np.testing.assert_array_equal(found["mask_grids"], expected[1])


def test_the_next_of_the_last_image_is_the_first(table, tmp_path):
    (tmp_path / "1.jpg").write_bytes(b"no image")
    assert int(table.read(1, False, False)["image_id"]) == 70
    (tmp_path / "0.jpg").unlink()
    with pytest.raises(ValueError, match="bad ones in a row, up to .*.jpg"):
        table._decode(0)


def test_an_image_that_cannot_be_read_has_no_masks(table, tmp_path):
    table._replace = False
    (tmp_path / "1.jpg").write_bytes(b"no image")
    found = table.read(1, False, True)
    assert not found["masks"].numpy().any()
    assert not found["mask_grids"].numpy().any()
    assert len(table._bad_images.names) == 1
