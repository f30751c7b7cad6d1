import os

import pytest

from keras_epsanet.commands.outputs import check_targets, check_writable


def test_files_are_the_same_by_whatever_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").touch()
    (tmp_path / "linked").symlink_to("photos")
    (tmp_path / "b.png").symlink_to("photos/a.png")
    check_targets(["photos/b.png", "a.png"], ["photos/a.png"], ["found"])
    for path in ("photos/a.png", "./photos/a.png", "linked/a.png", "b.png"):
        for given in (path, os.path.abspath(path)):
            message = f"Received: {given}, which is photos/a.png"
            with pytest.raises(ValueError, match=message):
                check_targets(["c.png", given], ["d.png", "photos/a.png"])


def test_a_folder_of_pictures_must_not_hold_what_is_read(tmp_path):
    check_targets([], [tmp_path / "a/b/1.png"], [tmp_path / "a"])
    with pytest.raises(ValueError, match="a/b, in which is .*a/b/1.png"):
        check_targets([], [tmp_path / "a/b/1.png"], [tmp_path / "a/b"])


def test_files_of_a_storage_are_compared_too():
    check_targets(["gs://a/1.png"], ["gs://b/1.png", "a/1.png"])
    with pytest.raises(ValueError, match="which is gs://a/1.png"):
        check_targets(["gs://a/b/../1.png"], ["gs://a/1.png"])


def test_what_can_be_written_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "former.csv").write_text("former")
    for path in ("a.csv", "former.csv", str(tmp_path / "b.csv"), "gs://a/b"):
        check_writable(path)
    assert os.listdir() == ["former.csv"]
    assert (tmp_path / "former.csv").read_text() == "former"


@pytest.mark.parametrize("path", ["/proc/a", "none/a", "", "file/a"])
def test_what_cannot_be_written_is_named(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    path = path or str(tmp_path)
    with pytest.raises(OSError) as caught:
        check_writable(path)
    assert str(caught.value).startswith(f"{path} cannot be written: ")
    assert ".tmp" not in str(caught.value)
