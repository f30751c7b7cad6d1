import contextlib
import errno
import gc
import os
import pathlib
import re
import signal
import socket
import sys

import pytest

from keras_epsanet.training import lock
from keras_epsanet.training.lock import lock_folder


def test_the_message_says_who_holds_the_lock_and_since_when(
    tmp_path, start_locking
):
    other = start_locking(tmp_path, 60)
    assert other.stdout.readline() == "locked\n"
    host = re.escape(socket.gethostname())
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d"
    with pytest.raises(
        ValueError,
        match=f"{tmp_path} is in use by process {other.pid} on {host} "
        f"since {when}. Wait .* Received: path={tmp_path}$",
    ):
        lock_folder(tmp_path)
    other.kill()
    other.wait()
    # The kill released it.
    assert lock_folder(tmp_path)


def test_the_lock_ends_with_the_object_that_stands_for_it(
    tmp_path, start_locking
):
    held = [lock_folder(tmp_path)]
    # One lock for all of a process, however they name the folder.
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    assert lock_folder(link) is held[0]
    output, error = start_locking(tmp_path).communicate()
    assert not output and f"process {os.getpid()} on" in error
    held.clear()
    gc.collect()
    assert start_locking(tmp_path).communicate() == ("locked\n", "")


def test_a_child_that_outlives_its_process_does_not_hold_the_lock(
    tmp_path, start_locking
):
    code = start_locking.code.replace(
        'print("locked"',
        "import os\nchild = os.fork() or time.sleep(60)\nprint(child",
    )
    process = start_locking(tmp_path, 60, code)
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    try:
        assert lock_folder(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_another_error_of_the_file_system_is_none_of_locks(
    tmp_path, monkeypatch, number
):
    def refuse(descriptor):
        raise OSError(number, "Input/output error")

    monkeypatch.setattr(lock, "_lock", refuse)
    with pytest.raises(OSError, match="Input/output"):
        lock_folder(tmp_path)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EAGAIN, errno.EDEADLK])
def test_whoever_holds_the_lock_is_told_by_the_file(
    tmp_path, monkeypatch, number
):
    def refuse(descriptor):
        raise OSError(number, "Resource temporarily unavailable")

    (tmp_path / ".lock").write_text("process 7 on here\n")
    monkeypatch.setattr(lock, "_lock", refuse)
    with pytest.raises(ValueError, match="in use by process 7 on here. Wait"):
        lock_folder(tmp_path)
    (tmp_path / ".lock").write_text("")
    with pytest.raises(ValueError, match="in use by another process. Wait"):
        lock_folder(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch, number):
    def refuse(descriptor):
        raise OSError(number, "No locks available")

    monkeypatch.setattr(lock, "_lock", refuse)
    with pytest.warns(
        UserWarning, match="cannot be locked .No locks avail.*no other process"
    ):
        assert lock_folder(tmp_path) is None


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        lock_folder(pathlib.Path(tmp_path) / "none")


def test_nothing_of_a_longer_text_is_left(tmp_path):
    (tmp_path / lock.NAME).write_text(300 * "x")
    held = lock_folder(tmp_path)
    text = (tmp_path / lock.NAME).read_text()
    assert held and text.endswith("\n") and "x" not in text.split("since")[1]


def test_a_folder_in_use_is_not_kept_open(tmp_path, start_locking):
    other = start_locking(tmp_path, 60)
    assert other.stdout.readline() == "locked\n"
    # What a process of another version may have left is no text.
    (tmp_path / lock.NAME).write_bytes(b"process \xfc")
    with pytest.raises(
        ValueError, match="in use by process .\\. Wait"
    ) as error:
        lock_folder(tmp_path)
    # Though the error, which knows the lock, is still there.
    files = "/proc/self/fd"
    opened = [os.path.realpath(f"{files}/{x}") for x in os.listdir(files)]
    assert os.path.realpath(tmp_path / lock.NAME) not in opened and error


@pytest.mark.parametrize("fails", [False, True])
def test_windows_locks_a_byte_behind_the_text(tmp_path, monkeypatch, fails):
    locked = []

    class Module:
        LK_NBLCK = 2

        @staticmethod
        def locking(descriptor, mode, number):
            place = os.lseek(descriptor, 0, os.SEEK_CUR)
            locked.append((place, mode, number))
            if fails:
                raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", Module)
    with open(tmp_path / "file", "wb+") as file:
        file.write(b"text")
        with contextlib.suppress(OSError):
            lock._lock(file.fileno())
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 0
    assert locked == [(2**20, 2, 1)]
