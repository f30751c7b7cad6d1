import os

from keras_epsanet.data.file_names import picture_names, printable


def test_names_that_are_no_text_can_be_printed():
    name = os.fsdecode(b"caf\xe9.jpg")
    for path in (name, os.fsencode(name)):
        printable(path).encode("utf-8")
        assert printable(path).startswith("caf")
    assert printable(b"a/b.jpg") == printable("a/b.jpg") == "a/b.jpg"


def test_images_of_one_name_in_two_folders_have_two_pictures():
    names = picture_names(["x/a/1.jpg", "x/b/1.jpg", "x/2.png"])
    assert list(names.values()) == ["a/1.png", "b/1.png", "2.png"]


def test_an_image_that_is_named_twice_has_one_picture():
    assert picture_names(["1.jpg", "./1.jpg"]) == {
        "1.jpg": "1.png",
        "./1.jpg": "1.png",
    }


def test_images_of_a_storage_have_their_pictures():
    paths = ["gs://photos/a/1.jpg", "gs://photos/b/1.jpg"]
    names = ["a/1.png", "b/1.png"]
    assert picture_names(paths) == dict(zip(paths, names))


def test_images_that_differ_in_their_ending_keep_it():
    paths = ["a/1.jpg", "a/1.webp", "a/2.jpg"]
    names = ["1.jpg.png", "1.webp.png", "2.png"]
    assert picture_names(paths) == dict(zip(paths, names))


def test_images_of_a_storage_and_of_this_machine_do_not_clash(tmp_path):
    paths = [
        "gs://photos/a/1.jpg",
        "gs://photos/b/1.jpg",
        str(tmp_path / "a/1.jpg"),
        str(tmp_path / "gs/1.jpg"),
        "s3://photos/a/1.jpg",
    ]
    names = ["gs/a/1", "gs/b/1", "local/a/1", "local/gs/1", "s3/1"]
    expected = [os.path.normpath(f"{name}.png") for name in names]
    assert list(picture_names(paths).values()) == expected


def test_images_of_two_buckets_lie_in_folders_of_their_names():
    paths = ["gs://one/a/1.jpg", "gs://two/a/1.jpg"]
    assert list(picture_names(paths).values()) == ["one/a/1.png", "two/a/1.png"]
