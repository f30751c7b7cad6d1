import errno

import pytest

from keras_epsanet import storage_tensorflow
from keras_epsanet.storage_tensorflow import Entry, RemoteFile, call, os_errors

tf = pytest.importorskip("tensorflow")


@pytest.mark.parametrize(
    "kind, expected, number",
    [
        ("NotFoundError", FileNotFoundError, errno.ENOENT),
        ("AlreadyExistsError", FileExistsError, errno.EEXIST),
        ("PermissionDeniedError", PermissionError, errno.EACCES),
        ("UnauthenticatedError", PermissionError, errno.EACCES),
        ("ResourceExhaustedError", OSError, errno.ENOSPC),
        ("UnavailableError", OSError, errno.EIO),
    ],
)
def test_errors_are_those_of_python(kind, expected, number):
    with pytest.raises(expected, match="the reason") as error:
        with os_errors("gs://a"):
            raise getattr(tf.errors, kind)(None, None, "the reason")
    assert (error.value.errno, error.value.filename) == (number, "gs://a")


@pytest.mark.parametrize(
    "kind, reason, is_silent",
    [
        ("UnavailableError", "no answer", True),
        ("AbortedError", "All 10 attempts failed", True),
        ("FailedPreconditionError", "libcurl code 6:\n\tno host", True),
        ("FailedPreconditionError", "the folder is not empty", False),
        ("NotFoundError", "no such object", False),
    ],
)
def test_a_storage_without_an_answer_is_called_so(kind, reason, is_silent):
    with pytest.raises(OSError) as error:
        with os_errors("gs://a"):
            raise getattr(tf.errors, kind)(None, None, reason)
    start = "The storage could not be reached: " if is_silent else ""
    assert error.value.strerror == start + " ".join(reason.split())


def test_an_error_without_a_reason_gets_one():
    with pytest.raises(FileNotFoundError, match="No such file or directory"):
        call("remove", "ram://test_storage_tensorflow/none")


@pytest.mark.parametrize("path", ["s3://bucket/a", "hdfs://host/a"])
def test_a_file_system_that_is_not_installed_is_named(path):
    scheme = path.partition(":")[0]
    if scheme in tf.io.gfile.get_registered_schemes():
        pytest.skip("it is installed")
    with pytest.raises(ImportError, match=f"^{path} needs .*tensorflow-io"):
        call("exists", path)


def test_what_is_read_is_not_read_ahead_of_its_place():
    path = "ram://test_storage_tensorflow/a"
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(bytes(range(10)))
    with RemoteFile(path) as file:
        assert file.readable() and file.seekable() and not file.writable()
        assert file.seek(4) == 4
        assert file.read(2) == b"\4\5"
        assert file.seek(-1, 2) == 9
        assert (file.read(), file.read()) == (b"\11", b"")


def test_images_in_gs_are_not_asked_for_one_by_one(monkeypatch):
    def refuse(path):
        raise AssertionError(path)

    monkeypatch.setattr(storage_tensorflow, "file_system", refuse)
    image, folder = (Entry("gs://a", name) for name in ("1.jpg", "figs/"))
    assert image.is_file() and not image.is_dir()
    assert folder.is_dir() and folder.name == "figs"
    with pytest.raises(AssertionError, match="s3://a/1.jpg"):
        Entry("s3://a", "1.jpg").is_dir()


def test_a_file_that_cannot_be_copied_is_named(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        storage_tensorflow.upload(tmp_path / "none", "ram://a/none")
