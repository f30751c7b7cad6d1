import os
import pathlib
import types

import pytest

from keras_epsanet import storage

tf = pytest.importorskip("tensorflow")


@pytest.fixture(params=["local", "ram"])
def folder(request, tmp_path):
    """A folder of either kind, which both are to treat alike."""
    if request.param == "local":
        return str(tmp_path)
    path = f"ram://test_storage/{tmp_path.name}"
    tf.io.gfile.makedirs(path)
    return path


def write(path, text):
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(text)


def test_a_file_is_read_from_any_place(folder):
    path = f"{folder}/a.txt"
    write(path, "çö,日本\r\nb\n")
    with storage.open_file(path, encoding="utf-8", newline="") as file:
        assert list(file) == ["çö,日本\r\n", "b\n"]
    for buffering in (-1, 0):
        with storage.open_file(path, "rb", buffering) as file:
            assert file.seek(0, os.SEEK_END) == 15
            file.seek(12)
            assert (file.read(1), file.tell(), file.read(9)) == (
                b"\n",
                13,
                b"b\n",
            )
    assert storage.getsize(path) == 15


def test_a_file_has_the_seconds_of_its_last_change(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("five!")
    os.utime(tmp_path / "a.txt", (3, 7.5))
    assert storage.stat(tmp_path / "a.txt") == (5, 7.5)
    found = types.SimpleNamespace(length=4, mtime_nsec=2_500_000_000)
    monkeypatch.setattr(storage, "call", lambda name, path: found)
    assert storage.stat("gs://bucket/a.txt") == (4, 2.5)


def test_files_and_folders_are_told_apart(folder):
    storage.makedirs(f"{folder}/b/c")
    storage.makedirs(f"{folder}/b/c", exist_ok=True)
    write(f"{folder}/b/d.txt", "d")
    for function, found in (
        (storage.exists, [True, True, False]),
        (storage.isdir, [True, False, False]),
        (storage.isfile, [False, True, False]),
    ):
        names = ("b", "b/d.txt", "e")
        assert [function(f"{folder}/{x}") for x in names] == found
    assert sorted(storage.listdir(f"{folder}/b")) == ["c", "d.txt"]
    with storage.scandir(f"{folder}/b") as entries:
        entries = sorted(entries, key=lambda x: x.name)
    assert [x.path for x in entries] == [
        f"{folder}/b/{x}" for x in ("c", "d.txt")
    ]
    assert [x.is_dir() for x in entries] == [True, False]
    assert [x.is_file() for x in entries] == [False, True]
    assert list(storage.walk(folder)) == [
        (folder, ["b"], []),
        (f"{folder}/b", ["c"], ["d.txt"]),
        (f"{folder}/b/c", [], []),
    ]


def test_a_walk_leaves_out_what_its_caller_removes(folder):
    for name in ("a", "b"):
        storage.makedirs(f"{folder}/{name}")
    found = []
    for path, folders, _ in storage.walk(folder):
        folders[:] = [x for x in folders if x != "a"]
        found.append(path)
    assert found == [folder, f"{folder}/b"]


def test_files_are_renamed_and_removed(folder):
    write(f"{folder}/a", "new")
    write(f"{folder}/b", "old")
    storage.replace(f"{folder}/a", f"{folder}/b")
    with storage.open_file(f"{folder}/b") as file:
        assert file.read() == "new"
    assert storage.listdir(folder) == ["b"]
    storage.remove(f"{folder}/b")
    storage.makedirs(f"{folder}/c/d")
    storage.rmtree(f"{folder}/c")
    assert storage.listdir(folder) == []


def test_what_is_missing_is_the_same_error_everywhere(folder):
    path = f"{folder}/none"
    for function in (
        lambda: storage.open_file(path).read(),
        lambda: storage.getsize(path),
        lambda: storage.remove(path),
        lambda: storage.rmtree(path),
        lambda: storage.listdir(path),
    ):
        with pytest.raises(FileNotFoundError) as error:
            function()
        assert error.value.filename == path
    storage.rmtree(path, ignore_errors=True)


def test_a_copy_is_there_as_long_as_it_is_read(folder):
    write(f"{folder}/model.weights.h5", 3000 * "x")
    with storage.local_file(f"{folder}/model.weights.h5") as path:
        assert os.path.basename(path) == "model.weights.h5"
        assert pathlib.Path(path).read_text() == 3000 * "x"
    assert os.path.exists(path) == (not folder.startswith("ram:"))


def test_a_path_from_whatever_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert storage.abspath("runs") == str(tmp_path / "runs")
    assert storage.abspath("gs://bucket/runs/") == "gs://bucket/runs"
    # Of Windows' `os.path.join`.
    assert storage.abspath("gs://bucket\\runs") == "gs://bucket/runs"


def test_a_path_loses_its_dots_but_no_slash():
    path = os.path.join("a", ".", "b", "..", "c")
    assert storage.normpath(path) == os.path.join("a", "c")
    assert storage.normpath("gs://bucket/a/./b/../c") == "gs://bucket/a/c"


@pytest.mark.parametrize(
    "path", ["ftp://host/a", "http://a", "file:///a", pathlib.Path("gs://a/b")]
)
def test_what_cannot_be_reached_is_refused(path):
    for function in (storage.exists, storage.open_file, storage.makedirs):
        with pytest.raises(
            ValueError, match=r"gs://, s3://, hdfs://, ram://. Received: \w+:/"
        ):
            function(path)


@pytest.mark.parametrize("path", ["a:b", "C:/photos", "tfds:/data", b"a/b"])
def test_other_paths_are_of_this_machine(path):
    assert not storage.is_remote(path)


def test_files_are_read_only():
    with pytest.raises(ValueError, match="Received: mode=w"):
        storage.open_file("a", "w")


def test_paths_of_this_machine_need_no_tensorflow(run_python):
    code = """
import importlib.util, sys
sys.modules["tensorflow"] = None
sys.path.insert(0, {root!r})
import types
package = types.ModuleType("keras_epsanet")
package.__path__ = [{root!r} + "/keras_epsanet"]
sys.modules["keras_epsanet"] = package
from keras_epsanet import atomic, storage
atomic.write_file("a.txt", "text")
storage.makedirs("b/c")
print(storage.open_file("a.txt").read(), *storage.walk("."))
try:
    storage.exists("gs://bucket")
except ImportError as error:
    print(error)
"""
    root = str(pathlib.Path(__file__).parents[1])
    output = run_python(code.format(root=root)).splitlines()
    assert output[0].startswith("text ('.', ['b'], ['a.txt'])")
    assert output[1] == "gs://bucket needs TensorFlow: pip install tensorflow"


@pytest.fixture
def unreachable(monkeypatch):
    """A path in a storage that nothing answers for, as TensorFlow has it."""
    reason = "libcurl code 6 meaning 'Could not resolve hostname'"

    def fail(path):
        raise tf.errors.FailedPreconditionError(None, None, reason)

    def find_nothing(path):
        raise tf.errors.NotFoundError(None, None, "Could not find directory")

    monkeypatch.setattr(tf.io.gfile, "exists", fail)
    monkeypatch.setattr(tf.io.gfile, "isdir", lambda path: False)
    monkeypatch.setattr(tf.io.gfile, "listdir", find_nothing)
    return "ram://nobody/a"


@pytest.mark.parametrize("name", ["exists", "isdir", "isfile", "listdir"])
def test_what_cannot_be_reached_is_not_what_is_missing(unreachable, name):
    with pytest.raises(OSError, match="could not be reached: libcurl code 6"):
        getattr(storage, name)(unreachable)


def test_folders_that_cannot_be_reached_are_not_empty(unreachable):
    with pytest.raises(OSError, match="could not be reached"):
        list(storage.walk(unreachable))
