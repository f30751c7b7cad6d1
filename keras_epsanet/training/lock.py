"""A folder that one process at a time may write to."""

import datetime
import errno
import os
import socket
import warnings
import weakref

NAME = ".lock"
# The locks of this process, by the real paths of their files.
_LOCKS = weakref.WeakValueDictionary()
_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


class FolderLock:
    """Keeps other processes out of a folder for as long as it exists.

    The lock is one of the operating system's on the file `.lock`, which the
    end of the process releases, however it ends; the file stays. Make it
    with `lock_folder`.

    Args:
        path: Path of the file.

    Raises:
        BlockingIOError: If another process holds the lock.
        OSError: If the file system has no locks.
    """

    def __init__(self, path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        self._close = weakref.finalize(self, os.close, descriptor)
        try:
            _lock(descriptor)
        except OSError as error:
            text = os.read(descriptor, 1000).decode(errors="replace")
            self._close()
            if error.errno in _HELD:
                raise BlockingIOError(error.errno, text.strip()) from error
            raise
        now = datetime.datetime.now().astimezone()
        text = (
            f"process {os.getpid()} on {socket.gethostname()} since "
            f"{now.isoformat(' ', 'seconds')}\n"
        )
        os.ftruncate(descriptor, 0)
        os.write(descriptor, text.encode())


def lock_folder(path):
    """Locks a folder against other processes.

    Within a process all that lock a folder share its lock.

    Args:
        path: Folder that exists.

    Returns:
        The lock, to be kept while the folder is written to; `None` with a
        warning where the file system has no locks.

    Raises:
        ValueError: If another process holds the lock. The message says
            which, on which machine and since when.
    """
    file = os.path.realpath(os.path.join(path, NAME))
    # Not opened twice: closing one of two descriptors releases the lock.
    lock = _LOCKS.get(file)
    if lock is not None:
        return lock
    try:
        lock = _LOCKS[file] = FolderLock(file)
    except BlockingIOError as error:
        raise ValueError(
            f"{path} is in use by {error.strerror or 'another process'}. "
            "Wait until that has ended, or take another folder. "
            f"Received: path={path}"
        ) from error
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        warnings.warn(
            f"{path} cannot be locked ({error.strerror}). Take care that no "
            "other process writes there.",
            stacklevel=2,
        )
    return lock


def _lock(descriptor):
    try:
        import fcntl
    except ImportError:  # Windows, whose locks keep others from reading.
        import msvcrt

        os.lseek(descriptor, 2**20, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        # Unlike `flock` no child process that outlives this one has it too.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
