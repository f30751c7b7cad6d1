"""Files of a model: in a folder, or where a hub has it."""

import contextlib
import importlib
import json
import os
import tempfile

from keras_epsanet import storage
from keras_epsanet.atomic import whole

# What a new repository of a hub has already.
_CARDS = ("README.md", "LICENSE")
_CLIENTS = {"hf": "huggingface_hub", "kaggle": "kagglehub"}


def find_file(source, name):
    """Returns the path of a file of a model, downloaded if need be.

    The clients of the hubs keep what they download in their caches.

    Args:
        source: Path of a folder, `"hf://USER/NAME"` or
            `"kaggle://USER/MODEL/FRAMEWORK/VARIATION"`.
        name: String, name of the file.

    Returns:
        Path of the file on this machine.

    Raises:
        ImportError: If the client of the hub is missing.
        ValueError: If there is no such folder, repository or file.
        OSError: If Kaggle has no such model, or a hub refuses.

    Example:

    >>> find_file("nowhere", "config.json")
    Traceback (most recent call last):
    ValueError: There is no file nowhere/config.json. Received: source=nowhere
    """
    source = os.fspath(source)
    scheme, _, handle = source.partition("://")
    if not handle:
        path = os.path.join(source, name)
        if os.path.isfile(path):
            return path
        raise ValueError(f"There is no file {path}. Received: source={source}")
    client = _import_client(scheme, source)
    if scheme == "kaggle":
        return client.model_download(handle, name)
    try:
        return client.hf_hub_download(handle, name)
    except (
        client.errors.EntryNotFoundError,
        client.errors.RepositoryNotFoundError,
    ) as error:
        raise ValueError(
            f"{source} has no file {name}, or it cannot be reached. "
            f"Received: source={source}"
        ) from error


def check_local(folder):
    """Raises a `ValueError` if a folder to be published is in a storage."""
    if storage.is_remote(folder):
        raise ValueError(
            "What is published is written to a folder of this machine. "
            f"Received: folder={folder}"
        )


@contextlib.contextmanager
def published_folder(folder, files, keys):
    """Lets a folder to be published appear when all of it is there.

    In a folder that exists the files are replaced then, one after the other.

    Args:
        folder: Path. What lies in a folder of the kind beside its files,
            such as a card, stays.
        files: Names of the files of the kind, the first of which, in JSON,
            each such folder has.
        keys: Strings, keys of this first file, which tell the kind.

    Yields:
        Path of an empty folder to write to.

    Raises:
        ValueError: If the folder is in a storage, is a file, or holds
            something, but not the first file with these keys.
    """
    check_local(folder)
    folder = os.path.realpath(folder)  # A link may point to no folder.
    _check_former(folder, files, keys)
    if not os.path.isdir(folder):
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        with whole(folder) as temporary:
            os.makedirs(temporary)
            yield temporary
        return
    # The folder itself stays: somebody may be in it, and it may be a mount.
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=folder) as temporary:
        yield temporary
        _replace_files(temporary, folder, files)


def _check_former(folder, files, keys):
    """Raises if a folder must not be published into."""
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise ValueError(
            f"`folder` must not be a file. Received: folder={folder!r}"
        )
    held = os.listdir(folder) if os.path.isdir(folder) else []
    visible = [x for x in held if not x.startswith(".") and x not in _CARDS]
    if visible and not _has_keys(os.path.join(folder, files[0]), keys):
        raise ValueError(
            "`folder` must be new, empty or one that was published before, "
            f"with {files[0]} that has {' and '.join(keys)}. "
            f"Received: folder={folder!r} with {', '.join(sorted(visible)[:3])}"
        )
    for name in files:
        if os.path.isdir(os.path.join(folder, name)):
            raise ValueError(
                f"`folder` must not have a folder {name}, the name of a file. "
                f"Received: folder={folder!r}"
            )


def _has_keys(path, keys):
    """Whether a file holds a dictionary in JSON with these keys."""
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.keys() >= {*keys}


def _replace_files(source, folder, files):
    """Moves new files to a folder, and removes the former ones."""
    # With the first one there a second attempt is not refused.
    new = sorted(os.listdir(source), key=lambda name: name != files[0])
    for name in new:
        os.replace(os.path.join(source, name), os.path.join(folder, name))
    for name in {*files}.difference(new):
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(folder, name))


def _import_client(scheme, source):
    if scheme not in _CLIENTS:
        raise ValueError(
            "`source` must be the path of a folder, or begin with "
            f"{' or '.join(f'{x}://' for x in _CLIENTS)}. "
            f"Received: source={source}"
        )
    name = _CLIENTS[scheme]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ImportError(
            f"{source} needs {name}: pip install {name}"
        ) from error
