"""Files and folders that are on the disk as a whole, or not at all."""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil

# What the name of something unfinished begins with.
_TEMPORARY = ".tmp-"
_IS_WINDOWS = os.name == "nt"


def sha256(path):
    """Returns the SHA-256 of a file in hexadecimal digits.

    Args:
        path: Path of the file.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def whole(path, replace_folder=False):
    """Lets a file or folder appear under its name when all of it is there.

    Args:
        path: Path of a file, which is replaced if it exists, or of a folder.
        replace_folder: Whether a folder that exists is replaced.

    Yields:
        Path beside it, with the same ending, to write to. What is there is
        removed if an error is raised.

    Raises:
        OSError: If the path is of a folder that is not replaced.

    Example:

    >>> with whole("letter.txt") as temporary:
    ...     with open(temporary, "w") as file:
    ...         _ = file.write("Dear reader")
    ...     os.path.exists("letter.txt"), temporary.endswith(".txt")
    (False, True)
    >>> os.listdir()
    ['letter.txt']
    """
    folder, name = os.path.split(path)
    stem, dot, ending = name.partition(".")
    # Processes of several machines may write to one name.
    name = f"{_TEMPORARY}{stem}-{secrets.token_hex(4)}{dot}{ending}"
    temporary = os.path.join(folder, name)
    try:
        yield temporary
        sync(temporary)
        if replace_folder and os.path.isdir(path):
            _replace_folder(temporary, path)
        else:
            os.replace(temporary, path)
        sync(folder or ".")
    finally:
        _remove(temporary)


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
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        # No second error in the place of the first.
        with contextlib.suppress(OSError):
            os.remove(path)


def remove_unfinished(folder):
    """Removes from a folder what a killed process has left unfinished.

    Args:
        folder: Path of a folder that no other process writes to.
    """
    for name in os.listdir(folder):
        if name.startswith(_TEMPORARY):
            _remove(os.path.join(folder, name))


def write_file(path, text):
    """Writes a file so that it is there as a whole or not at all.

    Args:
        path: Path of the file, which is replaced if it exists.
        text: String.
    """
    if not os.path.isdir(os.path.dirname(path) or "."):
        # Otherwise the message would name the temporary file.
        raise FileNotFoundError(
            errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path)
        )
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
