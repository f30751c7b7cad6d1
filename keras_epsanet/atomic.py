"""Files that are on the disk as a whole, or not at all."""

import hashlib
import os

_IS_WINDOWS = os.name == "nt"


def sha256(path):
    """Returns the SHA-256 of a file in hexadecimal digits.

    Args:
        path: Path of the file.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_file(path, text):
    """Writes a file so that it is there as a whole or not at all.

    Args:
        path: Path of the file, which is replaced if it exists.
        text: String.
    """
    temporary = f"{path}.tmp"
    # As it is given, on every system: a CSV has the ends of its lines.
    with open(temporary, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync(os.path.dirname(path) or ".")


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
