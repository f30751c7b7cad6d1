"""Lists image files, whatever they show."""

import os

from keras_epsanet import storage
from keras_epsanet.data.class_folders import ENDINGS


def list_files(paths, left_out=None):
    """Lists image files: those that are named and all in the folders named.

    Args:
        paths: List of strings.
        left_out: `collections.Counter`, to which the endings of the other
            files in the folders are added, `""` for none, or `None`.

    Returns:
        List of strings, those of a folder in the order of their names.
        Hidden files and folders are left out, and not counted.

    Example:

    >>> import os, pathlib
    >>> os.makedirs("photos/old")
    >>> for name in ("old/b.png", "a.jpg", "notes.txt"):
    ...     pathlib.Path(f"photos/{name}").touch()
    >>> list_files(["photos", "c.png"])
    ['photos/a.jpg', 'photos/old/b.png', 'c.png']
    """
    files = []
    for path in paths:
        if not storage.isdir(path):
            files.append(path)
            continue
        for folder, folders, names in storage.walk(path):
            folders[:] = sorted(x for x in folders if not x.startswith("."))
            for name in sorted(x for x in names if not x.startswith(".")):
                if name.lower().endswith(ENDINGS):
                    files.append(os.path.join(folder, name))
                elif left_out is not None:
                    left_out[os.path.splitext(name)[1].lower()] += 1
    return files
