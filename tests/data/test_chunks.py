import pytest

from keras_epsanet.data.chunks import PNG, WEBP, find_chunk


def webp(*chunks):
    contents = bytes(12)
    for name, data in chunks:
        length = len(data).to_bytes(4, "little")
        contents += name + length + data + bytes(len(data) % 2)
    return contents


def png(*chunks):
    contents = bytes(8)
    for name, data in chunks:
        contents += len(data).to_bytes(4, "big") + name + data + b"sum!"
    return contents


@pytest.mark.parametrize("kind, write", [(WEBP, webp), (PNG, png)])
@pytest.mark.parametrize("before", [b"", b"12", b"123"])
def test_the_first_chunk_of_a_name_is_found(kind, write, before):
    chunks = (b"ABCD", before), (b"EXIF", b"this"), (b"EXIF", b"that")
    contents = write(*chunks)
    assert find_chunk(contents, kind, b"EXIF") == b"this"
    assert find_chunk(contents, kind, b"NONE") == b""
