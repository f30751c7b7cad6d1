"""Public files, converted once, in Keras' cache beside the published ones."""

import os

import numpy as np

from keras_epsanet.atomic import sha256, whole, write_file
from keras_epsanet.weights.downloads import cache_folder


def read_conversion(file_name, convert):
    """Reads what a public file was converted to, or converts it.

    The hash of the converted file lies beside it. The archive's own sums do
    not cover the names in it, nor all that can go wrong as it is opened.

    Args:
        file_name: String, name of the published file.
        convert: Function of no arguments that returns a dictionary from
            names to arrays. It is called where there is no conversion yet, or
            a damaged one.

    Returns:
        A dictionary from names to arrays.

    Raises:
        OSError: If the conversion cannot be written.

    Example:

    >>> first = read_conversion("two.pth", lambda: {"a": np.ones(2)})
    >>> again = read_conversion("two.pth", lambda: 1 / 0)
    >>> again["a"].tolist()
    [1.0, 1.0]
    """
    stem = os.path.splitext(file_name)[0]
    converted = os.path.join(cache_folder(), f"{stem}.npz")
    if _is_intact(converted):
        with np.load(converted) as arrays:
            return dict(arrays)
    state = convert()
    with whole(converted) as temporary:
        np.savez(temporary, **state)
        digest = sha256(temporary)
    # A hash of the former file refuses the new one, if it ends here.
    write_file(_hash_of(converted), digest)
    return state


def _is_intact(path):
    """Whether a file is there, and is what it was when its hash was taken."""
    try:
        with open(_hash_of(path), "rb") as file:
            return file.read() == sha256(path).encode()
    except OSError:  # Not there yet, or not to be read.
        return False


def _hash_of(path):
    return f"{path}.sha256"
