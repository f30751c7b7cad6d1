import os

import pytest

from keras_epsanet import atomic, storage


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


@pytest.fixture
def remote(tmp_path):
    """A folder in TensorFlow's memory."""
    tf = pytest.importorskip("tensorflow")
    path = f"ram://test_atomic/{tmp_path.name}"
    tf.io.gfile.makedirs(path)
    return path


def read(path):
    with storage.open_file(path) as file:
        return file.read()


def test_a_file_of_a_storage_takes_its_name_when_it_is_whole(remote):
    path = f"{remote}/a.tar.gz"
    for text in ("old", "new"):
        with atomic.whole(path) as temporary:
            assert temporary.endswith(".tar.gz")
            with open(temporary, "w") as file:
                file.write(text)
            if text == "new":
                assert read(path) == "old"
        assert not os.path.exists(temporary)
    assert read(path) == "new" and storage.listdir(remote) == ["a.tar.gz"]
    atomic.write_file(f"{remote}/none/b.txt", "ç\r\n")
    with storage.open_file(f"{remote}/none/b.txt", "rb") as file:
        assert file.read() == "ç\r\n".encode()
    assert atomic.sha256(path).startswith("11507a0e2f5e69d5")


def test_a_folder_of_a_storage_is_whole_with_its_last_file(remote):
    path, last = f"{remote}/folder", "SUMS"
    assert not atomic.is_whole(path, last)
    with atomic.whole(path, last=last) as temporary:
        write(temporary, "old")
        write(f"{temporary}/below", "old")
        for folder in (temporary, f"{temporary}/below"):
            with open(f"{folder}/{last}", "w") as file:
                file.write("sum")
    assert atomic.is_whole(path, last) and not atomic.is_whole(path)
    assert read(f"{path}/below/a") == "old" and read(f"{path}/{last}") == "sum"
    # Only that of the folder itself comes last; those below are any files.
    assert read(f"{path}/below/{last}") == "sum"
    with pytest.raises(FileExistsError):
        with atomic.whole(path, last=last) as temporary:
            write(temporary, "new")
    assert read(f"{path}/a") == "old"
    with atomic.whole(path, replace_folder=True) as temporary:
        write(temporary, "new")
    assert sorted(storage.listdir(path)) == [atomic.MARKER, "a"]
    assert read(f"{path}/a") == "new" and atomic.is_whole(path)
    atomic.remove_folder(path)
    assert not storage.exists(path)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("lasting", [False, True])
def test_a_storage_that_fails_leaves_no_half_file(
    remote, failing_storage, lasting, after
):
    path = f"{remote}/a.txt"
    atomic.write_file(path, "old")
    for call in range(1, 100):
        failing_storage.fail(call, None if lasting else call, after)
        try:
            atomic.write_file(path, "new" * 100)
        except OSError as error:
            assert "storage is down" in str(error)
        failed = failing_storage.failed
        failing_storage.heal()
        assert read(path) in ("old", "new" * 100)
        if not failed:
            break
        atomic.write_file(path, "old")
    assert call > 2 and read(path) == "new" * 100
    atomic.remove_unfinished(remote)
    assert storage.listdir(remote) == ["a.txt"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("lasting", [False, True])
def test_a_storage_that_fails_leaves_no_half_folder(
    remote, failing_storage, lasting, after
):
    path = f"{remote}/folder"
    for call in range(1, 100):
        for text in ("old", "new"):
            if text == "new":
                failing_storage.fail(call, None if lasting else call, after)
            try:
                with atomic.whole(path, replace_folder=True) as temporary:
                    write(temporary, text)
                    write(f"{temporary}/b", text)
            except OSError as error:
                assert "storage is down" in str(error)
        failed = failing_storage.failed
        failing_storage.heal()
        if atomic.is_whole(path):
            names = [f"{path}/{name}" for name in ("a", "b/a")]
            assert {read(x) for x in names} in ({"old"}, {"new"})
        if not failed:
            break
    assert call > 5 and read(f"{path}/b/a") == "new"


def test_what_fails_before_it_is_written_changes_nothing(remote):
    path = f"{remote}/folder"
    with atomic.whole(path) as temporary:
        write(temporary, "old")
    with pytest.raises(KeyboardInterrupt):
        with atomic.whole(path, replace_folder=True) as temporary:
            write(temporary, "new")
            raise KeyboardInterrupt
    assert read(f"{path}/a") == "old" and atomic.is_whole(path)


def test_an_error_names_what_was_to_be_written(tmp_path, monkeypatch):
    """Not the temporary file, of which nobody knows."""
    for path in ("/proc/a.txt", str(tmp_path)):
        with pytest.raises(OSError) as caught:
            atomic.write_file(path, "text")
        assert caught.value.filename == path and ".tmp" not in str(caught.value)
    with pytest.raises(FileNotFoundError) as caught:
        with atomic.whole(tmp_path / "folder") as temporary:
            open(os.path.join(temporary, "a.txt"), "w")
    assert caught.value.filename == str(tmp_path / "folder/a.txt")


def test_errors_of_other_files_stay_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        with atomic.whole(tmp_path / "a.txt"):
            open("none.txt")
    assert caught.value.filename == "none.txt"
