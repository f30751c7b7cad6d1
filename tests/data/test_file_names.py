import os

import pytest

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


@pytest.mark.parametrize(
    "paths, names",
    [
        # A name with its ending may be another one's.
        (
            ["x/a.jpg", "x/a.jpg.png", "x/a.png"],
            ["a.jpg.png", "a.jpg.png.png", "a.png.png"],
        ),
        (
            ["x/a", "x/a.png", "x/a.png.png", "x/a.png.png.jpg"],
            ["a.png", "a.png.png", "a.png.png.png", "a.png.png.jpg.png"],
        ),
        # Or the name of a folder.
        (["x/a.jpg", "x/a.png/b.jpg"], ["a.jpg.png", "a.png/b.png"]),
        (
            ["x/a.jpg", "x/a.png/b.jpg", "x/a.jpg.png/b.jpg"],
            ["a.jpg-2.png", "a.png/b.png", "a.jpg.png/b.png"],
        ),
    ],
)
def test_every_picture_has_a_name_of_its_own(paths, names):
    found = list(picture_names(paths).values())
    assert not taken_twice(found) and len(set(found)) == len(found)
    assert found == [os.path.normpath(name) for name in names]


def taken_twice(names):
    """Names that are those of folders of others."""
    return [x for x in names if any(y.startswith(x + os.sep) for y in names)]


def test_folders_of_frames_are_of_no_other_picture():
    paths = ["x/a.mp4", "x/a/000000.jpg", "x/b.mp4", "x/b.avi", "x/c.mp4"]
    names = ["a.mp4", "a/000000.png", "b.mp4", "b.avi", "c"]
    endings = dict.fromkeys(paths, "") | {"x/a/000000.jpg": ".png"}
    found = list(picture_names(paths, endings.get).values())
    assert found == [os.path.normpath(name) for name in names]


def test_videos_keep_their_ending_beside_other_videos():
    paths = ["x/a.mp4", "x/a.avi", "x/a.avi.mp4", "x/a.jpg", "x/b.avi"]
    names = ["a.mp4.mp4", "a.avi.mp4", "a.avi.mp4.mp4", "a.png", "b.mp4"]
    endings = {x: ".mp4" for x in paths} | {"x/a.jpg": ".png"}
    assert list(picture_names(paths, endings.get).values()) == names


def test_many_images_are_named_at_once():
    """Each with two of its stem, and a name that one of them would take."""
    endings = (".jpg", ".png", ".jpg.png")
    paths = [f"x/{i}{ending}" for i in range(5000) for ending in endings]
    assert len(set(picture_names(paths).values())) == len(paths)
