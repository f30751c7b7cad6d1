import os

import pytest

from keras_epsanet.commands.named_images import find_images


@pytest.fixture
def folder(tmp_path):
    """Makes a folder of files of these names."""

    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return str(tmp_path)

    return make


@pytest.mark.parametrize(
    "others, line",
    [
        (["b.tiff"], "1 file left out: .tiff is not read"),
        (["b.tiff", "c.TIFF"], "2 files left out: .tiff are not read"),
        (
            ["old/b.tif", "c.heic", "d.jp2"],
            "3 files left out: .heic, .jp2, .tif are not read",
        ),
        (["README"], "1 file left out: files without an ending are not read"),
    ],
)
def test_what_is_left_out_of_a_folder_is_said(others, line, folder, capsys):
    path = folder("a.png", *others)
    assert find_images("mine", [path]) == [f"{path}/a.png"]
    streams = capsys.readouterr()
    assert streams.err == f"mine: {line}\n" and not streams.out


def test_hidden_files_and_named_files_are_no_matter(folder, capsys):
    path = folder("a.png", ".DS_Store", ".cache/b.tiff")
    files = find_images("mine", [path, "c.tiff"])
    assert files == [f"{path}/a.png", "c.tiff"]
    assert not capsys.readouterr().err


@pytest.mark.parametrize("videos", [True, False])
def test_videos_of_a_folder_are_read_if_they_are_named(videos, folder, capsys):
    path = folder("a.png", "b.mp4")
    assert find_images("mine", [path], videos) == [f"{path}/a.png"]
    line = capsys.readouterr().err
    assert ("videos are read if named" in line) == videos
    assert line.startswith("mine: 1 file left out: .mp4 is not read")


def test_no_images_are_no_success(folder, capsys):
    path = folder("a.heic")
    with pytest.raises(SystemExit, match=f"^mine: no images in {path}$"):
        find_images("mine", [path])
    assert ".heic is not read" in capsys.readouterr().err


def test_folders_that_are_no_utf8_are_named(tmp_path):
    folder = os.path.join(os.fsencode(tmp_path), b"r\xfcd")
    os.mkdir(folder)
    with pytest.raises(SystemExit, match=r"r\\xfcd$"):
        find_images("mine", [os.fsdecode(folder)])
