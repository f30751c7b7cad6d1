import io
import os

import numpy as np
import PIL.Image
import pytest

from keras_epsanet.data.decode import (
    decode_contents,
    decode_image,
    upright_size,
)


def colors():
    random = np.random.default_rng(0)
    small = PIL.Image.fromarray(random.integers(0, 256, (4, 4, 3), "uint8"))
    return small.resize((19, 14), 3)


def encode(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def with_alpha(mode):
    image = colors().convert("RGBA")
    alpha = np.full((14, 19), 255, "uint8")
    alpha[:5], alpha[5:9] = 0, 100
    image.putalpha(PIL.Image.fromarray(alpha))
    return image.convert(mode)


@pytest.mark.parametrize(
    "contents",
    [
        encode(colors(), "PNG"),
        encode(colors().convert("L"), "PNG"),
        encode(colors().convert("1"), "PNG"),
        encode(colors().quantize(16), "PNG"),
        encode(colors().quantize(16), "PNG", transparency=3),
        encode(with_alpha("RGBA"), "PNG"),
        encode(with_alpha("LA"), "PNG"),
        encode(colors(), "JPEG"),
        encode(colors(), "JPEG", progressive=True),
        encode(colors().convert("L"), "JPEG"),
        encode(colors(), "WEBP"),
        encode(colors(), "WEBP", lossless=True),
        encode(with_alpha("RGBA"), "WEBP", lossless=True, exact=True),
        encode(
            colors(),
            "WEBP",
            lossless=True,
            save_all=True,
            append_images=[colors().rotate(180)],
        ),
        encode(colors(), "GIF"),
        encode(colors().convert("L"), "GIF"),
    ],
    ids=lambda contents: str(len(contents)),
)
def test_pixels_are_those_of_pillow(contents):
    image = decode_contents(contents, "a").numpy()
    expected = PIL.Image.open(io.BytesIO(contents)).convert("RGB")
    assert image.dtype == "uint8"
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("place", range(0, 12, 3))
def test_an_animation_that_begins_with_a_part_is_refused(place):
    frames = [colors().rotate(180)]
    contents = bytearray(
        encode(colors(), "WEBP", save_all=True, append_images=frames)
    )
    # Left and top, width and height of the first frame.
    contents[contents.index(b"ANMF") + 8 + place] ^= 2
    with pytest.raises(ValueError, match="a.webp .* frame .* is not whole"):
        decode_contents(bytes(contents), "a.webp")


def test_cmyk_is_converted():
    contents = encode(colors().convert("CMYK"), "JPEG")
    image = decode_contents(contents, "a").numpy().astype(int)
    expected = PIL.Image.open(io.BytesIO(contents)).convert("RGB")
    assert np.abs(image - np.asarray(expected)).max() <= 2


def test_of_sixteen_bits_the_upper_eight_are_taken():
    random = np.random.default_rng(0)
    deep = random.integers(0, 2**16, (6, 7), "uint16")
    contents = encode(PIL.Image.fromarray(deep), "PNG")
    image = decode_contents(contents, "a").numpy()
    np.testing.assert_array_equal(image, np.stack([deep >> 8] * 3, -1))


@pytest.mark.parametrize("kind", ["TIFF", "PPM"])
def test_other_formats_are_refused_by_name(kind):
    # Without a full stop, for more may follow.
    with pytest.raises(
        ValueError, match=r"a.x cannot be decoded .*Unknown.*[^.]$"
    ):
        decode_contents(encode(colors(), kind), "a.x")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
@pytest.mark.parametrize("kept", [0.03, 0.5])
def test_what_is_cut_off_is_refused_by_name(kind, kept):
    contents = encode(colors(), kind)
    contents = contents[: int(kept * len(contents))]
    with pytest.raises(ValueError, match="a.x cannot be decoded"):
        decode_contents(contents, "a.x")


def test_names_of_files_need_not_be_text(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"f\xfcnf.png")
    with open(path, "wb") as file:
        file.write(encode(colors(), "PNG"))
    assert decode_image(path).shape == (14, 19, 3)
    assert decode_image(os.fsdecode(path)).shape == (14, 19, 3)
    os.remove(path)
    with pytest.raises(ValueError, match=r"f\\xfcnf.png cannot"):
        decode_image(os.fsdecode(path))


def test_photographs_are_turned_upright_unless_told_otherwise():
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    contents = encode(colors(), "PNG", exif=exif)
    stored = np.array(colors())
    as_stored = decode_contents(contents, "a", upright=False)
    np.testing.assert_array_equal(as_stored, stored)
    upright = decode_contents(contents, "a")
    np.testing.assert_array_equal(upright, np.rot90(stored, -1))


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_the_upright_size_is_that_of_the_decoded_image(tmp_path, turn, ending):
    exif = PIL.Image.Exif()
    exif[0x0112] = turn
    path = tmp_path / f"a.{ending}"
    PIL.Image.new("RGB", (60, 40)).save(path, exif=exif)
    expected = decode_image(path).shape[:2]
    assert upright_size(path) == tuple(expected)
    assert expected == ((60, 40) if turn > 4 else (40, 60))


@pytest.mark.parametrize("contents", [b"", b"\xff\xd8\xff", b"no image"])
def test_what_has_no_size_is_named(tmp_path, contents):
    (tmp_path / "a.jpg").write_bytes(contents)
    for path in (tmp_path / "a.jpg", tmp_path / "none.jpg"):
        with pytest.raises(ValueError, match=f"{path} cannot be decoded"):
            upright_size(path)
