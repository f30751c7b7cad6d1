"""Text files that other programs write, and what lies beside them."""

from keras_epsanet import storage


def list_names(folder, endings):
    """Lists the files of a folder that have one of several endings.

    Args:
        folder: Path, which need not exist.
        endings: String or tuple of strings, such as `".xml"`.

    Returns:
        Sorted list of names. Hidden ones are left out, such as `._data.yaml`,
        which macOS leaves beside `data.yaml` on other systems' disks.

    Example:

    >>> import os, pathlib
    >>> os.makedirs("fruit")
    >>> for name in ("b.xml", "a.xml", "._a.xml", "a.jpg"):
    ...     pathlib.Path(f"fruit/{name}").touch()
    >>> list_names("fruit", ".xml"), list_names("none", ".xml")
    (['a.xml', 'b.xml'], [])
    """
    names = storage.listdir(folder) if storage.isdir(folder) else []
    return sorted(
        name
        for name in names
        if name.endswith(endings) and not name.startswith(".")
    )


def read_text(path):
    """Reads a text file of another program.

    Args:
        path: Path of a file in UTF-8, which may begin with a byte order mark.

    Returns:
        String.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not UTF-8. Editors of Windows may write UTF-16.

    Example:

    >>> with open("a.txt", "w", encoding="utf-16") as file:
    ...     _ = file.write("pear")
    >>> read_text("a.txt")
    Traceback (most recent call last):
    ValueError: The text of a file must be UTF-8. Received: a.txt
    """
    try:
        with storage.open_file(path, encoding="utf-8-sig") as file:
            return file.read()
    except UnicodeError as error:
        raise ValueError(
            f"The text of a file must be UTF-8. Received: {path}"
        ) from error
