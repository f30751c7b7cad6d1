"""What commands write: not over what they read, and not in vain."""

import errno
import os
import tempfile

from keras_epsanet import storage
from keras_epsanet.data.file_names import printable


def check_targets(targets, inputs, folders=()):
    """Raises, before any work, if what is written is what is read.

    Args:
        targets: Paths of the files that are written.
        inputs: Paths of the files that are read.
        folders: Paths of folders in which any file may be written.

    Raises:
        ValueError: With both paths.

    Example:

    >>> check_targets(["found/a.png"], ["photos/a.png"])
    """
    read = {_real(path): path for path in inputs}
    inside = {os.path.dirname(real): path for real, path in read.items()}
    found = [(x, "which is", read.get(_real(x))) for x in targets]
    found += [(x, "in which is", inside.get(_real(x))) for x in folders]
    for target, where, replaced in found:
        if replaced is not None:
            raise ValueError(
                "What is written must not replace what is read. Received: "
                f"{printable(target)}, {where} {printable(replaced)}"
            )


def _real(path):
    """The same for all paths of a file."""
    if storage.is_remote(path):
        return storage.normpath(path)
    return os.path.normcase(os.path.realpath(path))


def check_writable(path):
    """Raises, before any work, if a file cannot be written.

    Args:
        path: Path of the file. A storage is not asked.

    Raises:
        OSError: With the path and the reason.

    Example:

    >>> check_writable("none/a.csv")
    Traceback (most recent call last):
    OSError: none/a.csv cannot be written: No such file or directory
    """
    if storage.is_remote(path):
        return
    try:
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        # What rights say of a folder is not all.
        folder = os.path.dirname(path) or "."
        with tempfile.NamedTemporaryFile(prefix=".tmp-", dir=folder):
            pass
    except OSError as error:
        raise OSError(not_written(path, error)) from error


def not_written(path, error):
    """Says why a file was not written.

    Args:
        path: Path of the file.
        error: `OSError`.

    Returns:
        String.
    """
    return f"{printable(path)} cannot be written: {error.strerror or error}"
