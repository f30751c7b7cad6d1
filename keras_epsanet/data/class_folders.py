"""Lists the images of a folder with one sub-folder for each class."""

import collections
import os

from keras_epsanet import storage
from keras_epsanet.data.file_names import printable

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")


def list_class_files(path):
    """Lists a folder with one sub-folder for each class.

    The folders below that of a class belong to it too. Hidden files and
    folders, and links to folders below that of a class, are left out.

    Args:
        path: Folder.

    Returns:
        The names of the classes, sorted; a dictionary from each to the
        sorted paths of its image files; and a dictionary from the reasons
        for which files were left out, such as `".txt"`, to how many there
        were.

    Raises:
        ValueError: If there is no such folder, it has less than two classes
            or a class without images.

    Example:

    >>> import os, pathlib
    >>> for name in ("pears/1.png", "pears/old/2.png", "figs/1.png", "a.txt"):
    ...     os.makedirs(f"fruit/{os.path.dirname(name)}", exist_ok=True)
    ...     pathlib.Path(f"fruit/{name}").touch()
    >>> list_class_files("fruit")[1]["pears"]
    ['fruit/pears/1.png', 'fruit/pears/old/2.png']
    >>> list_class_files("fruit")[2]
    {'in no class': 1}
    """
    if not storage.isdir(path):
        raise ValueError(
            "`path` must be a folder that exists. "
            f"Received: path={printable(path)}"
        )
    left_out = collections.Counter()
    folders = {}
    for entry in _visible(path, left_out):
        if entry.is_dir():
            folders[printable(entry.name)] = entry.path
        else:
            left_out["in no class"] += 1
    class_names = sorted(folders)
    if len(class_names) < 2:
        raise ValueError(
            "`path` must have a sub-folder for each of two classes or more. "
            f"Received: path={printable(path)} with the sub-folders "
            f"{class_names}"
        )
    files = {
        name: sorted(_list_images(folders[name], left_out))
        for name in class_names
    }
    without = [name for name in class_names if not files[name]]
    if without:
        raise ValueError(
            f"Every class must have images ({', '.join(ENDINGS)}). "
            f"Received: path={printable(path)} with none in "
            f"{', '.join(without)}"
        )
    return class_names, files, dict(sorted(left_out.items()))


def _visible(folder, left_out):
    """Entries of a folder, of which the hidden ones are only counted."""
    with storage.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                left_out["hidden"] += 1
            else:
                yield entry


def _list_images(folder, left_out):
    for entry in _visible(folder, left_out):
        ending = os.path.splitext(entry.name)[1].lower()
        if entry.is_dir(follow_symlinks=False):
            yield from _list_images(entry.path, left_out)
        elif entry.is_dir():
            # It could lead back to where it is.
            left_out["link to a folder"] += 1
        elif not entry.is_file():
            left_out["no regular file"] += 1
        elif ending not in ENDINGS:
            left_out[printable(ending) or "no ending"] += 1
        else:
            yield entry.path
