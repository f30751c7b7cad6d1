"""Names of files, which need not be text."""

import collections
import os

from keras_epsanet import storage


def printable(path):
    r"""A path as text that can be printed and encoded as UTF-8.

    Args:
        path: Path, string or bytes. Python gives bytes that are no UTF-8 as
            lone surrogates, which neither a terminal nor TensorFlow takes.

    Returns:
        String, with such bytes as `\xff`.

    Example:

    >>> print(printable(b"f\xfcnf.jpg"))
    f\xfcnf.jpg
    """
    return os.fsencode(path).decode(errors="backslashreplace")


def picture_names(files):
    """Names the picture of every file, each another one.

    Args:
        files: List of paths.

    Returns:
        Dictionary from paths to names: those of the files with `.png`, in
        the folders in which they lie below the one that all are in.

    Example:

    >>> picture_names(["a/b/1.jpg", "a/c/1.jpg"])
    {'a/b/1.jpg': 'b/1.png', 'a/c/1.jpg': 'c/1.png'}
    """
    absolute = {path: storage.abspath(path) for path in files}
    folders = {os.path.dirname(path) for path in absolute.values()}
    top = os.path.commonpath(folders)
    names = {}
    for path, whole in absolute.items():
        names[path] = os.path.relpath(whole, top)
    stems = collections.Counter(
        os.path.splitext(name)[0] for name in set(names.values())
    )
    for path, name in names.items():
        stem = os.path.splitext(name)[0]
        # Both of 1.jpg and 1.webp keep their endings.
        names[path] = f"{stem if stems[stem] == 1 else name}.png"
    return names
