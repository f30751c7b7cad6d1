"""Files of a model: in a folder, or where a hub has it."""

import importlib
import os

from keras_epsanet import storage

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
