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


def picture_names(files, ending=lambda path: ".png"):
    """Names the picture of every file, each another one.

    Args:
        files: List of paths.
        ending: Function from a path to the ending of its picture; `""` for
            a folder of pictures, in which no other one is.

    Returns:
        Dictionary from paths to names: those of the files with the ending of
        the picture, in the folders in which they lie below the one that all
        are in. Of files of this machine and of storages it is in folders
        `local`, `gs` and so on. Files that differ in their own ending only
        keep it.

    Example:

    >>> picture_names(["a/b/1.jpg", "a/c/1.jpg"])
    {'a/b/1.jpg': 'b/1.png', 'a/c/1.jpg': 'c/1.png'}
    >>> picture_names(["1.jpg", "1.png"])
    {'1.jpg': '1.jpg.png', '1.png': '1.png.png'}
    """
    names = _names_below(files)
    endings = {names[path]: ending(path) for path in files}
    attempts = dict.fromkeys(endings, 0)
    while True:
        found = {
            name: _attempt(name, attempts[name], endings[name])
            for name in endings
        }
        clashing = _clashing(found, attempts)
        if not clashing:
            return {path: found[name] for path, name in names.items()}
        for name in clashing:
            attempts[name] += 1


def _attempt(name, number, ending):
    """The name of a picture; the first, or one after others were taken."""
    if number == 0:
        return f"{os.path.splitext(name)[0]}{ending}"
    return f"{name}{ending}" if number == 1 else f"{name}-{number}{ending}"


def _clashing(found, attempts):
    """The files whose pictures need other names."""
    by_picture = collections.defaultdict(list)
    for name, picture in found.items():
        by_picture[picture].append(name)
    folders = {x for picture in by_picture for x in _folders(picture)}
    clashing = []
    for picture, names in by_picture.items():
        if picture in folders:
            clashing += names
        elif len(names) > 1:
            # Who has another name already keeps it.
            least = min(attempts[name] for name in names)
            clashing += [name for name in names if attempts[name] == least]
    return clashing


def _folders(picture):
    folder = os.path.dirname(picture)
    while folder:
        yield folder
        folder = os.path.dirname(folder)


def _names_below(files):
    """Names of files below the folder that all are in."""
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
    return names


def _split(path):
    """The scheme of a path, empty for this machine, and what is in there."""
    if not storage.is_remote(path):
        return "", path
    scheme, _, below = path.partition("://")
    return scheme, f"/{below}"
