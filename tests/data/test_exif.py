import io
import struct

import keras
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from keras_epsanet.data import exif
from keras_epsanet.data.bad_images import as_jpeg
from keras_epsanet.data.decode import decode_contents
from keras_epsanet.data.imagenet import crops

if keras.backend.backend() != "tensorflow":
    pytest.skip("made of TensorFlow's operations", allow_module_level=True)

import tensorflow as tf

ORIENTATIONS = range(1, 9)
LOSSLESS = {
    "JPEG": {"quality": 100, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
}


def encode(kind, orientation=None, endian="<"):
    """An image in which no two corners are alike."""
    random = np.random.default_rng(0)
    corners = PIL.Image.fromarray(random.integers(0, 256, (3, 3, 3), "uint8"))
    options = dict(LOSSLESS[kind])
    if orientation is not None:
        note = PIL.Image.Exif()
        note.endian = endian
        note[0x010F] = "a camera"
        note[0x0112] = orientation
        options["exif"] = note.tobytes()
    file = io.BytesIO()
    corners.resize((50, 36), 3).save(file, kind, **options)
    return file.getvalue()


def upright(contents):
    """The reference, Pillow's."""
    image = PIL.Image.open(io.BytesIO(contents))
    return np.asarray(PIL.ImageOps.exif_transpose(image).convert("RGB"))


def segment(marker, contents):
    length = (len(contents) + 2).to_bytes(2, "big")
    return b"\xff" + bytes([marker]) + length + contents


def note_of(jpeg):
    """The EXIF segment of a JPEG without its marker and length."""
    begin = jpeg.index(exif.HEADER)
    length = int.from_bytes(jpeg[begin - 2 : begin], "big")
    return jpeg[begin : begin - 2 + length]


@pytest.mark.parametrize("endian", "<>")
@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", LOSSLESS)
def test_images_are_upright_as_pillows(kind, orientation, endian):
    contents = encode(kind, orientation, endian)
    assert exif.orientation(contents) == orientation
    image = decode_contents(contents, "a").numpy()
    np.testing.assert_array_equal(image, upright(contents))


@pytest.mark.parametrize("kind", LOSSLESS)
def test_without_a_note_images_stay_as_they_are(kind):
    assert exif.orientation(encode(kind)) == 1


def test_the_note_is_found_behind_other_segments():
    jpeg = encode("JPEG")
    note = note_of(encode("JPEG", 6))
    others = segment(0xE2, b"Exif\0\0MM") + segment(0xFE, b"a comment")
    later = jpeg[:20] + others + segment(0xE1, note) + jpeg[20:]
    assert exif.orientation(later) == 6
    assert not exif.has_no_note(later)


def test_the_note_is_found_behind_one_of_another_kind():
    jpeg = encode("JPEG", 6)
    # As XMP, in a segment of the same marker.
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\x00<x:xmpmeta/>")
    assert exif.orientation(jpeg[:2] + xmp + jpeg[2:]) == 6


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    "entries, expected",
    [
        ([(0x0112, 3, 6)], 6),
        ([(0x0112, 4, 6)], 6),
        # Of another type, which has no such meaning.
        ([(0x0112, 1, 6)], 1),
        ([(0x010F, 3, 3), (0x0111, 4, 5), (0x0112, 3, 8)], 8),
        ([(0x0113, 3, 6)], 1),
    ],
)
def test_the_entry_is_found_by_its_tag_and_type(order, entries, expected):
    note = {"<": b"II", ">": b"MM"}[order]
    # The directory need not follow the header.
    note += struct.pack(f"{order}HI4xH", 42, 12, len(entries))
    for tag, kind, value in entries:
        short = kind == 3
        note += struct.pack(f"{order}HHI", tag, kind, 1)
        note += struct.pack(f"{order}H2x" if short else f"{order}I", value)
    jpeg = encode("JPEG")
    contents = jpeg[:2] + segment(0xE1, exif.HEADER + note) + jpeg[2:]
    assert exif.orientation(contents) == expected


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_orientations_that_do_not_exist_count_as_none(value):
    assert exif.orientation(encode("JPEG", value)) == 1


@pytest.mark.parametrize("kind", LOSSLESS)
def test_notes_that_are_cut_off_count_as_none(kind):
    contents = encode(kind, 6)
    found = {exif.orientation(contents[:i]) for i in range(len(contents))}
    assert found == {1, 6}


def test_damaged_notes_are_no_error():
    jpeg = encode("JPEG", 6)
    begin, end = jpeg.index(exif.HEADER) - 4, jpeg.index(b"\xff\xdb")
    for i in range(begin, end):
        for byte in (0, 1, 255):
            damaged = jpeg[:i] + bytes([byte]) + jpeg[i + 1 :]
            assert 1 <= exif.orientation(damaged) <= 8


def test_common_jpegs_need_no_search():
    image = np.zeros((8, 8, 3), "uint8")
    for jpeg in (encode("JPEG"), tf.io.encode_jpeg(image)):
        assert exif.has_no_note(jpeg)
    assert not exif.has_no_note(encode("JPEG", 1))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_random_crops_are_of_the_upright_image(orientation):
    jpeg = encode("JPEG", orientation)
    image = upright(jpeg)
    uniforms = tf.fill((crops.NUM_UNIFORMS,), 0.3)
    box = crops.random_box(image.shape[:2], uniforms)
    top, left, height, width = box.numpy()
    assert 0 < top and 0 < left and height < 30 and width < 30
    part = image[top : top + height, left : left + width]
    expected = crops._resize(part, (16, 16))[:, ::-1]
    crop = crops.random_crop(jpeg, uniforms, 16).numpy().astype(int)
    assert np.abs(crop - expected).max() <= 1  # of 255, by rounding


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_middle_is_that_of_the_upright_image(orientation):
    jpeg = encode("JPEG", orientation)
    reference = io.BytesIO()
    image = PIL.Image.fromarray(upright(jpeg))
    image.save(reference, "JPEG", **LOSSLESS["JPEG"])
    expected = crops.center_crop(reference.getvalue(), 20, 16)
    crop = crops.center_crop(jpeg, 20, 16)
    difference = crop.numpy().astype(int) - expected.numpy()
    assert np.abs(difference).max() <= 3  # of 255, by encoding twice


def test_jpegs_keep_their_note_and_others_are_encoded_upright():
    jpeg, png = encode("JPEG", 6), encode("PNG", 6)
    assert as_jpeg(jpeg, "a") == jpeg
    encoded = as_jpeg(png, "a", quality=100)
    assert exif.orientation(encoded) == 1
    image = decode_contents(encoded, "a").numpy().astype(int)
    assert np.abs(image - upright(png)).max() <= 4
