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
        the folders in which they lie below the one that all are in. Of
        files of this machine and of storages it is in folders `local`,
        `gs` and so on.

    Example:

    >>> picture_names(["a/b/1.jpg", "a/c/1.jpg"])
    {'a/b/1.jpg': 'b/1.png', 'a/c/1.jpg': 'c/1.png'}
    """
    absolute = {path: storage.abspath(path) for path in files}
    roots = collections.defaultdict(set)
    for whole in absolute.values():
        root, below = _split(whole)
        roots[root].add(os.path.dirname(below))
    names = {}
    for path, whole in absolute.items():
        root, below = _split(whole)
        names[path] = os.path.relpath(below, os.path.commonpath(roots[root]))
        if len(roots) > 1:
            # Nothing lies above this machine and a storage.
            names[path] = os.path.join(root or "local", names[path])
    stems = collections.Counter(
        os.path.splitext(name)[0] for name in set(names.values())
    )
    for path, name in names.items():
        stem = os.path.splitext(name)[0]
        # Both of 1.jpg and 1.webp keep their endings.
        names[path] = f"{stem if stems[stem] == 1 else name}.png"
    return names


def _split(path):
    """The scheme of a path, empty for this machine, and what is in there."""
    if not storage.is_remote(path):
        return "", path
    scheme, _, below = path.partition("://")
    return scheme, f"/{below}"
