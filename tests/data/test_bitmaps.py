import io
import struct

import numpy as np
import PIL.Image
import pytest

from keras_epsanet.data.decode import decode_contents


def bitmap(
    bits,
    pixels,
    palette=b"",
    size=(5, 3),
    compression=0,
    header=40,
    colors=0,
):
    """A BMP file of so many bits for a pixel."""
    begin = 14 + header + len(palette)
    info = struct.pack(
        "<IiiHHIIiiII", header, *size, 1, bits, compression, 0, 0, 0, colors, 0
    )
    info = info.ljust(header, b"\0")[:header]
    length = begin + len(pixels)
    file = struct.pack("<2sIHHI", b"BM", length, 0, 0, begin)
    return file + info + palette + pixels


def numbers(bits, from_top=False):
    """A BMP file with a palette and random numbers of it."""
    random = np.random.default_rng(bits)
    palette = random.integers(0, 256, (2**bits, 4), "uint8").tobytes()
    pixels = random.bytes(3 * -(-5 * bits // 32) * 4)
    return bitmap(bits, pixels, palette, (5, -3 if from_top else 3))


def pillows(contents):
    return np.asarray(PIL.Image.open(io.BytesIO(contents)).convert("RGB"))


@pytest.mark.parametrize("from_top", [False, True])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_palettes_give_the_colors_that_pillow_gives(bits, from_top):
    contents = numbers(bits, from_top)
    image = decode_contents(contents, "a.bmp")
    assert image.dtype == "uint8"
    np.testing.assert_array_equal(image, pillows(contents))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_what_pillow_writes(mode):
    random = np.random.default_rng(0)
    image = PIL.Image.fromarray(random.integers(0, 256, (5, 7, 3), "uint8"))
    image = image.quantize(9) if mode == "P" else image.convert(mode)
    file = io.BytesIO()
    image.save(file, "BMP")
    decoded = decode_contents(file.getvalue(), "a.bmp")
    np.testing.assert_array_equal(decoded, image.convert("RGB"))


def test_a_short_palette_leaves_the_other_numbers_black():
    contents = bitmap(8, bytes([0, 1, 2, 255] * 3), b"\1\2\3\0" * 2, (4, 3))
    image = decode_contents(contents, "a.bmp").numpy()
    expected = [[3, 2, 1]] * 2 + [[0, 0, 0]] * 2
    # Of 256 colors, the header says; the pixels follow after two.
    np.testing.assert_array_equal(image, [expected] * 3)


@pytest.mark.parametrize("header", [40, 108, 124])
def test_headers_of_any_length_are_passed_over(header):
    palette = np.random.default_rng(0).bytes(8)
    contents = bitmap(
        1, bytes([0b10100000, 0, 0, 0]) * 3, palette, header=header
    )
    image = decode_contents(contents, "a.bmp")
    np.testing.assert_array_equal(image, pillows(contents))


def test_a_palette_has_as_many_colors_as_the_header_says():
    colors = bytes(range(1, 13))
    contents = bitmap(8, bytes([0, 1, 2, 0]), colors, (3, 1), colors=2)
    image = decode_contents(contents, "a.bmp").numpy()
    # What lies between two colors and the pixels is none.
    np.testing.assert_array_equal(image, [[[3, 2, 1], [7, 6, 5], [0, 0, 0]]])


def test_usual_masks_are_known():
    random = np.random.default_rng(0)
    masks = struct.pack("<3I", 0xFF0000, 0xFF00, 0xFF)
    contents = bitmap(32, random.bytes(60), masks, compression=3)
    image = decode_contents(contents, "a.bmp")
    np.testing.assert_array_equal(image, pillows(contents))


@pytest.mark.parametrize(
    "contents, reason",
    [
        (bitmap(16, bytes(36)), "16 bits with compression 0"),
        (bitmap(8, bytes(20), bytes(1024), compression=1), "compression 1"),
        (bitmap(4, bytes(20), bytes(64), compression=2), "compression 2"),
        (bitmap(32, bytes(60), bytes(12), compression=3), "compression 3"),
        (bitmap(8, bytes(24), header=12), "OS/2"),
        (numbers(8)[:-1], "cut off"),
        (numbers(8)[:30], "cut off"),
        (bitmap(24, bytes(40)), "."),
        (bitmap(8, bytes(20), bytes(1024), (0, 3)), "cut off"),
        (bitmap(8, bytes(20), bytes(1024), (5, 0)), "cut off"),
        (bitmap(8, bytes(20), bytes(1024), (-5, 3)), "cut off"),
    ],
)
def test_what_is_not_read_is_refused_by_name(contents, reason):
    with pytest.raises(ValueError, match=f"a.bmp cannot be .*{reason}"):
        decode_contents(contents, "a.bmp")
