import os

from keras_epsanet.data.file_names import printable


def test_names_that_are_no_text_can_be_printed():
    name = os.fsdecode(b"caf\xe9.jpg")
    for path in (name, os.fsencode(name)):
        printable(path).encode("utf-8")
        assert printable(path).startswith("caf")
    assert printable(b"a/b.jpg") == printable("a/b.jpg") == "a/b.jpg"
