"""Files by their paths: of this machine, or of TensorFlow's file systems.

A path such as `gs://bucket/run` is reached with `tf.io.gfile`, any other with
Python's own functions, without TensorFlow. The functions have the names of
those of `os` and `os.path` and raise the same errors. Nothing is written to
here: that is for `atomic.whole`.
"""

import contextlib
import io
import os
import posixpath
import re
import shutil
import tempfile

from keras_epsanet.storage_tensorflow import (
    Entry,
    RemoteFile,
    call,
    with_slashes,
)

# `ram` is the memory of the process, for tests.
SCHEMES = ("gs", "s3", "hdfs", "ram")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(/?)")


def is_remote(path):
    """Whether a path is of one of TensorFlow's file systems.

    Args:
        path: Path, string or bytes.

    Raises:
        ValueError: If it is of another one, or is a `pathlib.Path`, which
            leaves one slash of two.

    Example:

    >>> is_remote("gs://bucket/run"), is_remote("runs/gs")
    (True, False)
    """
    found = _URL.match(os.fsdecode(path))
    if not found:
        return False
    scheme, slash = found.groups()
    if slash and scheme in SCHEMES:
        return True
    if slash or scheme in SCHEMES:
        allowed = ", ".join(f"{name}://" for name in SCHEMES)
        raise ValueError(
            "A path must be one of this machine, or a string that begins with "
            f"one of {allowed}. Received: {path}"
        )
    return False


def open_file(path, mode="r", buffering=-1, encoding=None, **options):
    """Opens a file to read it.

    Args:
        path: Path.
        mode: `"r"` or `"rb"`.
        buffering, encoding, **options: As of `open`.

    Returns:
        File object. That a file of TensorFlow's file systems is missing it
        may notice when it is read.

    Raises:
        OSError: If it cannot be opened.

    Example:

    >>> with open("letter.txt", "w") as file:
    ...     _ = file.write("Dear reader")
    >>> with open_file("letter.txt") as file:
    ...     file.read()
    'Dear reader'
    """
    if mode not in ("r", "rb"):
        raise ValueError(f'`mode` must be "r" or "rb". Received: mode={mode}')
    if not is_remote(path):
        return open(path, mode, buffering, encoding, **options)
    raw = RemoteFile(path)
    if not buffering:
        return raw
    file = io.BufferedReader(raw, 2**20)
    if mode == "rb":
        return file
    return io.TextIOWrapper(file, encoding, **options)


def exists(path):
    """Whether there is a file or a folder of this path."""
    return call("exists", path) if is_remote(path) else os.path.exists(path)


def isdir(path):
    """Whether there is a folder of this path."""
    if not is_remote(path):
        return os.path.isdir(path)
    if call("isdir", path):
        return True
    call("exists", path)  # Raises where nothing answers, unlike `isdir`.
    return False


def isfile(path):
    """Whether there is a file of this path."""
    if is_remote(path):
        return call("exists", path) and not call("isdir", path)
    return os.path.isfile(path)


def stat(path):
    """Returns the bytes of a file and the seconds of its last change."""
    if is_remote(path):
        found = call("stat", path)
        return found.length, found.mtime_nsec / 1e9
    found = os.stat(path)
    return found.st_size, found.st_mtime


def getsize(path):
    """Returns the bytes of a file, an integer."""
    return stat(path)[0]


def abspath(path):
    """Returns the path of a file from whatever folder."""
    return with_slashes(path) if is_remote(path) else os.path.abspath(path)


def normpath(path):
    """Returns a path without `.` and `..`, a string."""
    if not is_remote(path):
        return os.path.normpath(path)
    # Of two slashes `os.path` would leave one.
    scheme, _, rest = with_slashes(path).partition("://")
    return f"{scheme}://{posixpath.normpath(rest)}"


def listdir(path):
    """Returns the names of what a folder holds, a list of strings."""
    if is_remote(path):
        return [name.rstrip("/") for name in _list(path)]
    return os.listdir(path)


@contextlib.contextmanager
def scandir(path):
    """Yields an iterator of what a folder holds, as `os.scandir` does."""
    if not is_remote(path):
        with os.scandir(path) as entries:
            yield entries
        return
    folder = with_slashes(path)
    yield (Entry(folder, name) for name in _list(folder))


def _list(path):
    """The names in a folder of a storage; those of folders may end in `/`."""
    try:
        return call("listdir", path)
    except FileNotFoundError:
        # So it calls a folder too whose storage does not answer.
        call("exists", path)
        raise


def walk(path):
    """Yields what is below a folder, as `os.walk` does, from the top."""
    if not is_remote(path):
        yield from os.walk(path)
        return
    with scandir(path) as entries:
        entries = list(entries)
    folders = [entry.name for entry in entries if entry.is_dir()]
    yield path, folders, [x.name for x in entries if x.is_file()]
    for name in folders:
        yield from walk(f"{with_slashes(path)}/{name}")


def makedirs(path, exist_ok=False):
    """Makes a folder and those above it; in a storage it may be there."""
    if is_remote(path):
        call("makedirs", path)
    else:
        os.makedirs(path, exist_ok=exist_ok)


def remove(path):
    """Removes a file."""
    if is_remote(path):
        call("remove", path)
    else:
        os.remove(path)


def rmtree(path, ignore_errors=False):
    """Removes a folder with all that is in it."""
    if not is_remote(path):
        shutil.rmtree(path, ignore_errors=ignore_errors)
        return
    try:
        call("rmtree", path)
    except OSError:
        if not ignore_errors:
            raise


def replace(source, target):
    """Gives a file another name, which a file may have had before."""
    if is_remote(target):
        call("rename", source, with_slashes(target), overwrite=True)
    else:
        os.replace(source, target)


@contextlib.contextmanager
def local_file(path):
    """Lets what reads files of this machine only read any other.

    Args:
        path: Path of a file.

    Yields:
        The path, or that of a copy with the same name.

    Raises:
        OSError: If it cannot be copied.
    """
    if not is_remote(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, with_slashes(path).rpartition("/")[2])
        with open_file(path, "rb") as file, open(copy, "wb") as target:
            shutil.copyfileobj(file, target, 2**24)
        yield copy
