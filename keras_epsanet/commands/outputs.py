"""What commands write: not over what they read."""

import os

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
