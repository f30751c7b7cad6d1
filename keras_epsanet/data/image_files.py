"""Lists image files, whatever they show."""

import os

from keras_epsanet import storage
from keras_epsanet.data.class_folders import ENDINGS


def list_files(paths):
    """Lists image files: those that are named and all in the folders named.

    Args:
        paths: List of strings.

    Returns:
        List of strings, those of a folder in the order of their names.
        Hidden files and folders are left out.

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
            files += [
                os.path.join(folder, name)
                for name in sorted(names)
                if name.lower().endswith(ENDINGS) and not name.startswith(".")
            ]
    return files
