"""Whose a folder is to write to, on this machine or in a storage.

A storage of objects has no locks that end with their process: one that a
killed process left would keep out the process that goes on. There the last
one that claimed the folder has it, and the one before ends when it is about
to write there again.
"""

import datetime
import os
import secrets
import socket
import warnings

from keras_epsanet import storage
from keras_epsanet.atomic import write_file
from keras_epsanet.training.lock import NAME, lock_folder


class Claim:
    """Says in a folder of a storage which process writes to it.

    Make it with `claim_folder`.

    Args:
        path: Path of the folder.
    """

    def __init__(self, path):
        self.path = storage.abspath(path)
        self._file = f"{self.path}/{NAME}"
        now = datetime.datetime.now().astimezone()
        self._text = (
            f"process {os.getpid()} on {socket.gethostname()} since "
            f"{now.isoformat(' ', 'seconds')}, {secrets.token_hex(8)}\n"
        )
        write_file(self._file, self._text)

    def check(self):
        """Raises if another process has claimed the folder since.

        Raises:
            RuntimeError: With what is known of the other process.
            OSError: If the storage fails.
        """
        with storage.open_file(self._file, encoding="utf-8") as file:
            text = file.read()
        if text != self._text:
            raise RuntimeError(
                f"{self.path} was taken over by {text.rpartition(',')[0]}. "
                "This process ends, and writes nothing more there."
            )


def claim_folder(path):
    """Locks a folder of this machine, or claims one of a storage.

    Args:
        path: Folder that exists.

    Returns:
        Object to be kept while the folder is written to, for `check_claim`;
        `None` with a warning where the file system has no locks.

    Raises:
        ValueError: If another process holds the lock.
    """
    if not storage.is_remote(path):
        return lock_folder(path)
    file = f"{storage.abspath(path)}/{NAME}"
    if storage.exists(file):
        with storage.open_file(file, encoding="utf-8") as former:
            owner = former.read().rpartition(",")[0]
        warnings.warn(
            f"{path} was written to by {owner}. If that still runs, it ends "
            "before it writes there again.",
            stacklevel=3,
        )
    return Claim(path)


def check_claim(claim):
    """Raises a RuntimeError if a folder was taken over, which no lock allows.

    Args:
        claim: What `claim_folder` returned.
    """
    if isinstance(claim, Claim):
        claim.check()
