import os

import pytest

from keras_epsanet import atomic


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "state.json"
    path.write_text("old")

    def fail(descriptor):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError):
        atomic.write_file(path, "new")
    assert path.read_text() == "old"


def test_a_file_takes_its_name_when_it_is_on_the_disk(tmp_path, monkeypatch):
    path, events = tmp_path / "state.json", []

    def note(name, function):
        def call(*arguments):
            events.append((name, path.exists()))
            return function(*arguments)

        monkeypatch.setattr(os, name, call)

    note("fsync", os.fsync)
    note("replace", os.replace)
    atomic.write_file(path, "text")
    assert path.read_text() == "text" and os.listdir(tmp_path) == [path.name]
    # The name is on the disk at the end, too.
    assert events == [("fsync", False), ("replace", False), ("fsync", True)]


def test_windows_opens_no_folder_and_waits_for_files_to_write(
    tmp_path, monkeypatch
):
    opened = []

    def open_as_windows(path, flags, open=os.open):
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied")
        opened.append(flags)
        return open(path, flags)

    monkeypatch.setattr(atomic, "_IS_WINDOWS", True)
    monkeypatch.setattr(os, "open", open_as_windows)
    (tmp_path / "file").write_text("")
    atomic.sync(tmp_path)
    atomic.sync(tmp_path / "file")
    assert opened == [os.O_RDWR]


def test_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert atomic.sha256(tmp_path / "file").startswith("ba7816bf8f01cfea")


def test_a_file_holds_what_is_given_on_every_system(tmp_path):
    atomic.write_file(tmp_path / "a.csv", "çö,日本\r\nb\n")
    assert (tmp_path / "a.csv").read_bytes() == "çö,日本\r\nb\n".encode()


def write(folder, text):
    os.makedirs(folder)
    with open(os.path.join(folder, "a"), "w") as file:
        file.write(text)


def test_a_folder_is_replaced_only_if_it_is_wanted(tmp_path):
    path = tmp_path / "folder"
    write(path, "old")
    with pytest.raises(OSError):
        with atomic.whole(path) as temporary:
            write(temporary, "new")
    assert (path / "a").read_text() == "old"
    with atomic.whole(path, replace_folder=True) as temporary:
        write(temporary, "new")
    assert (path / "a").read_text() == "new"
    assert os.listdir(tmp_path) == ["folder"]


def test_a_folder_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    path, rename = tmp_path / "folder", os.rename
    write(path, "old")

    def fail(source, target):
        if target == path and "former" not in source:
            raise OSError("No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OSError, match="No space"):
        with atomic.whole(path, replace_folder=True) as temporary:
            write(temporary, "new")
    assert (path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["folder"]


def test_what_a_kill_left_is_removed(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_remove", lambda path: None)
        for name in ("a.json", "b"):
            with pytest.raises(KeyboardInterrupt):
                with atomic.whole(tmp_path / name) as temporary:
                    write(f"{temporary}/c", "half of it")
                    raise KeyboardInterrupt
    assert len(os.listdir(tmp_path)) == 2
    (tmp_path / "whole").write_text("")
    atomic.remove_unfinished(tmp_path)
    assert os.listdir(tmp_path) == ["whole"]


def test_a_file_may_be_written_where_the_process_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    atomic.write_file("a.txt", "text")
    assert (tmp_path / "a.txt").read_text() == "text"
    assert os.listdir() == ["a.txt"]


def test_a_missing_folder_is_named_with_the_file(tmp_path):
    path = tmp_path / "none/a.txt"
    with pytest.raises(FileNotFoundError) as error:
        atomic.write_file(path, "text")
    assert error.value.filename == str(path)


def test_folders_on_the_way_may_be_made_by_what_is_written(tmp_path):
    path = tmp_path / "run/scenes"
    with atomic.whole(path) as temporary:
        os.makedirs(temporary)
    assert path.is_dir()
