"""Names of files, which need not be text."""

import os


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
