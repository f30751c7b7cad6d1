"""Files and folders that are on the disk as a whole, or not at all.

Or in a storage that TensorFlow reaches, such as gs://bucket. A file takes its
name there when all of it is there. Folders cannot be renamed at one stroke:
a folder is whole when its last file is there.
"""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import tempfile

from keras_epsanet import storage
from keras_epsanet.storage_tensorflow import upload

# What the name of something unfinished begins with.
_TEMPORARY = ".tmp-"
# Last file of a folder in a storage, where no other says that it is whole.
MARKER = ".whole"
_IS_WINDOWS = os.name == "nt"


def sha256(path):
    """Returns the SHA-256 of a file in hexadecimal digits.

    Args:
        path: Path of the file.
    """
    with storage.open_file(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def whole(path, replace_folder=False, last=MARKER):
    """Lets a file or folder appear under its name when all of it is there.

    Args:
        path: Path of a file, which is replaced if it exists, or of a folder.
        replace_folder: Whether a folder that exists is replaced.
        last: Name of the file in a folder that is written last to a storage,
            for `is_whole`. It is made, empty, if there is none.

    Yields:
        Path beside it, or on this machine, with the same ending, to write
        to. What is there is removed if an error is raised.

    Raises:
        OSError: If the path is of a folder that is not replaced. Errors of
            the temporary file name the path in its place.

    Example:

    >>> with whole("letter.txt") as temporary:
    ...     with open(temporary, "w") as file:
    ...         _ = file.write("Dear reader")
    ...     os.path.exists("letter.txt"), temporary.endswith(".txt")
    (False, True)
    >>> os.listdir()
    ['letter.txt']
    """
    if storage.is_remote(path):
        with _whole_in_storage(path, replace_folder, last) as temporary:
            yield temporary
        return
    folder, temporary = os.path.dirname(path), _beside(path)
    try:
        yield temporary
        sync(temporary)
        if replace_folder and os.path.isdir(path):
            _replace_folder(temporary, path)
        else:
            os.replace(temporary, path)
        sync(folder or ".")
    except OSError as error:
        name = error.filename
        # Of which nobody knows but this function.
        if isinstance(name, str) and f"{name}{os.sep}".startswith(
            f"{temporary}{os.sep}"
        ):
            name = os.fspath(path) + name.removeprefix(temporary)
            raise OSError(error.errno, error.strerror, name) from error
        raise
    finally:
        _remove(temporary)


def _beside(path):
    folder, name = os.path.split(path)
    stem, dot, ending = name.partition(".")
    # Processes of several machines may write to one name.
    name = f"{_TEMPORARY}{stem}-{secrets.token_hex(4)}{dot}{ending}"
    return os.path.join(folder, name)


@contextlib.contextmanager
def _whole_in_storage(path, replace_folder, last):
    path = storage.abspath(path)
    with tempfile.TemporaryDirectory() as folder:
        temporary = os.path.join(folder, os.path.basename(path))
        yield temporary
        if not os.path.isdir(temporary):
            _upload(temporary, path)
            return
        if storage.exists(path) and not replace_folder:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        try:
            _upload_folder(temporary, path, last)
        except BaseException:
            # No second error in the place of the first.
            with contextlib.suppress(OSError):
                remove_folder(path, last)
            raise


def _upload(source, path):
    """Copies a file into a storage, where it appears as a whole."""
    temporary = _beside(path)
    try:
        upload(source, temporary)
        storage.replace(temporary, path)
    except BaseException:
        _remove(temporary)
        raise


def _upload_folder(source, path, last):
    remove_folder(path, last)
    for folder, _, names in os.walk(source):
        below = os.path.relpath(folder, source).replace(os.sep, "/")
        target = path if below == "." else f"{path}/{below}"
        storage.makedirs(target)
        for name in sorted(names):
            if (below, name) != (".", last):
                upload(os.path.join(folder, name), f"{target}/{name}")
    marker = os.path.join(source, last)
    with open(marker, "ab"):
        _upload(marker, f"{path}/{last}")


def is_whole(path, last=MARKER):
    """Whether a folder is there that `whole` has written.

    Args:
        path: Path of the folder.
        last: As in `whole`.

    Example:

    >>> is_whole("photos")
    False
    """
    if storage.is_remote(path):
        return storage.exists(f"{storage.abspath(path)}/{last}")
    return os.path.isdir(path)


def remove_folder(path, last=MARKER):
    """Removes a folder, if it is there, so that no half of it seems whole.

    Args:
        path: Path of the folder.
        last: As in `whole`.

    Raises:
        OSError: If a storage fails.
    """
    if not storage.is_remote(path):
        shutil.rmtree(path, ignore_errors=True)
    elif storage.isdir(path):
        with contextlib.suppress(FileNotFoundError):
            storage.remove(f"{storage.abspath(path)}/{last}")
        storage.rmtree(path)


def _replace_folder(temporary, path):
    former = f"{temporary}-former"
    os.rename(path, former)
    try:
        os.rename(temporary, path)
    except OSError:
        os.rename(former, path)
        raise
    _remove(former)


def _remove(path):
    # No second error in the place of the first.
    with contextlib.suppress(OSError):
        if storage.isdir(path):
            storage.rmtree(path, ignore_errors=True)
        else:
            storage.remove(path)


def remove_unfinished(folder):
    """Removes from a folder what a killed process has left unfinished.

    Args:
        folder: Path of a folder that no other process writes to.
    """
    for name in storage.listdir(folder):
        if name.startswith(_TEMPORARY):
            _remove(os.path.join(folder, name))


def write_file(path, text):
    """Writes a file so that it is there as a whole or not at all.

    Args:
        path: Path of the file, which is replaced if it exists.
        text: String.
    """
    with whole(path) as temporary:
        # As it is given, on every system: a CSV has the ends of its lines.
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            file.write(text)


def sync(path):
    """Waits until a file, or the names in a folder, are on the disk.

    Windows opens no folders, and writes their names by itself.

    Args:
        path: Path of the file or folder.
    """
    if _IS_WINDOWS and os.path.isdir(path):
        return
    # Windows waits for files alone that could be written to.
    descriptor = os.open(path, os.O_RDWR if _IS_WINDOWS else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
