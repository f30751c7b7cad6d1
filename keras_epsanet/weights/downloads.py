"""Downloads into Keras' cache: whole and as published, or not at all."""

import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request

import keras

from keras_epsanet.atomic import whole

_FOLDER = os.path.join("models", "keras_epsanet")
_CHUNK = 2**18  # Bytes.


def fetch(file, timeout):
    """Returns the path of a file in Keras' cache, downloaded if need be.

    Args:
        file: `PublicFile`.
        timeout: Number, seconds without any byte after which the download
            is given up.

    Returns:
        String.

    Raises:
        OSError: If the file cannot be downloaded as a whole, or its hash is
            wrong. Nothing of it is left.
    """
    path = os.path.join(cache_folder(), file.file_name)
    if os.path.isfile(path):
        with open(path, "rb") as content:
            if _digest(_chunks(content), file.digest) == file.digest:
                return path
        os.remove(path)
        print(f"{path} was damaged and is downloaded again.")
    try:
        _download(file, path, timeout)
    except (OSError, http.client.HTTPException) as error:
        reason = error
        if type(error) is urllib.error.URLError:
            reason = error.reason
        if isinstance(reason, TimeoutError):
            reason = f"no byte came for {timeout} seconds"
        raise OSError(
            f"{file.url} could not be downloaded: {reason}. Download it by "
            "hand, on another machine if need be, and give the path of the "
            "file."
        ) from error
    return path


def cache_folder():
    """The folder in Keras' cache, found as `keras.utils.get_file` does."""
    home = os.environ.get("KERAS_HOME") or os.path.join("~", ".keras")
    folder = os.path.join(os.path.expanduser(home), _FOLDER)
    try:
        os.makedirs(folder, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        folder = os.path.join(tempfile.gettempdir(), ".keras", _FOLDER)
        os.makedirs(folder, exist_ok=True)
    return folder


def _download(file, path, timeout):
    request = urllib.request.Request(
        file.url, headers={"User-Agent": "keras-epsanet"}
    )
    # The timeout holds for the connection and for every wait for bytes.
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        length = answer.headers.get("Content-Length")
        length = int(length) if length else None
        _announce(file, length)
        with whole(path) as temporary:
            with open(temporary, "wb") as target:
                chunks = _written(_chunks(answer), target, length)
                found = _digest(chunks, file.digest)
            size = os.path.getsize(temporary)
            if length is not None and size != length:
                raise OSError(f"only {size} of {length} bytes came")
            if found != file.digest:
                raise OSError(
                    f"its hash begins with {found}, not with {file.digest}, "
                    "so it is not the file that was published"
                )


def _announce(file, length):
    size = length / 2**20 if length else file.megabytes
    lines = [
        f"Downloading {file.url}",
        f"Size: {size:.1f} MiB" if size else "Size: unknown",
        f"Publisher: {file.publisher}",
        f"License: {file.license}",
        f"Trained on: {file.data_set} (see its terms)",
        *([f"Reached: {file.reached}"] if file.reached else []),
        f"To cite: {file.paper}",
    ]
    print("\n".join(lines), flush=True)


def _chunks(source):
    while chunk := source.read(_CHUNK):
        yield chunk


def _written(chunks, target, length):
    """Yields chunks that it writes to a file, with a progress bar."""
    progress = keras.utils.Progbar(length, unit_name="byte")
    for chunk in chunks:
        target.write(chunk)
        progress.update(target.tell())
        yield chunk


def _digest(chunks, expected):
    """As many digits of the hash as are expected: MD5 where it is 32."""
    kind = "md5" if len(expected) == 32 else "sha256"
    # Not for security: it is what the publisher gives.
    digest = hashlib.new(kind, usedforsecurity=False)
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()[: len(expected)]
