"""What `storage` needs of TensorFlow's file systems, such as gs://."""

import contextlib
import errno
import io
import os


def file_system(path):
    """Returns what reads and writes a path that is not of this machine.

    Args:
        path: String, with a scheme.

    Returns:
        Module `tf.io.gfile`.

    Raises:
        ImportError: If TensorFlow, or its file system, is not installed.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise ImportError(
            f"{path} needs TensorFlow: pip install tensorflow"
        ) from error
    scheme = path.partition(":")[0]
    if scheme not in tf.io.gfile.get_registered_schemes():
        with contextlib.suppress(ImportError):
            import tensorflow_io  # noqa: F401
    if scheme not in tf.io.gfile.get_registered_schemes():
        raise ImportError(
            f"{path} needs a file system that this TensorFlow lacks: pip "
            "install tensorflow-io, if there is one for it, or mount the "
            "storage as a folder"
        )
    return tf.io.gfile


@contextlib.contextmanager
def os_errors(path):
    """Raises TensorFlow's errors as those that Python's functions raise.

    Args:
        path: String, for the message.

    Raises:
        OSError: In the place of a `tf.errors.OpError`.
    """
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        numbers = {
            tf.errors.NotFoundError: errno.ENOENT,
            tf.errors.AlreadyExistsError: errno.EEXIST,
            tf.errors.PermissionDeniedError: errno.EACCES,
            tf.errors.UnauthenticatedError: errno.EACCES,
            tf.errors.ResourceExhaustedError: errno.ENOSPC,
        }
        number = numbers.get(type(error), errno.EIO)
        reason = " ".join(error.message.split()) or os.strerror(number)
        if _is_silent(error):
            reason = f"The storage could not be reached: {reason}"
        raise OSError(number, reason, path) from error


def _is_silent(error):
    """Whether an error says that nothing answered."""
    import tensorflow as tf

    kinds = (
        tf.errors.AbortedError,  # After all attempts.
        tf.errors.DeadlineExceededError,
        tf.errors.UnavailableError,
    )
    # A host without a name is a failed precondition to TensorFlow.
    return isinstance(error, kinds) or "libcurl code" in error.message


def with_slashes(path):
    """Returns a path as all file systems of TensorFlow know it, a string."""
    # Windows' `os.path.join` puts the others between the names.
    return os.fsdecode(path).replace("\\", "/").rstrip("/")


def call(name, path, *arguments, **options):
    """Calls a function of `tf.io.gfile`.

    Args:
        name: String.
        path: Path, its first argument.
        *arguments, **options: Its others.

    Returns:
        What the function returns.

    Raises:
        OSError: If it fails.
    """
    path = with_slashes(path)
    function = getattr(file_system(path), name)
    with os_errors(path):
        return function(path, *arguments, **options)


def upload(source, target):
    """Copies a file of this machine into a storage.

    Args:
        source: Path of the file.
        target: Path in the storage. Half of the file may be there after an
            error.

    Raises:
        OSError: If it cannot be copied.
    """
    target = with_slashes(target)
    copy = file_system(target).copy
    with os_errors(target):
        copy(source, target, overwrite=True)


class RemoteFile(io.RawIOBase):
    """A file that is read.

    Args:
        path: Path. That there is no such file is noticed when it is read.
    """

    def __init__(self, path):
        self._path = with_slashes(path)
        self._file = call("GFile", self._path, "rb")

    def readable(self):
        return True

    def seekable(self):
        return True

    def readinto(self, buffer):
        with os_errors(self._path):
            contents = self._file.read(len(buffer))
        buffer[: len(contents)] = contents
        return len(contents)

    def seek(self, offset, whence=os.SEEK_SET):
        with os_errors(self._path):
            self._file.seek(offset, whence)
        return self.tell()

    def tell(self):
        return self._file.tell()

    def close(self):
        if not self.closed:
            self._file.close()
        super().close()


class Entry:
    """What a folder holds, with what `os.scandir` has of it.

    Args:
        folder: String, path of the folder.
        name: String, as `listdir` has it.
    """

    def __init__(self, folder, name):
        self.name = name.rstrip("/")
        self.path = f"{folder}/{self.name}"
        self._is_folder = True if name.endswith("/") else None
        if self._is_folder is None and folder.startswith("gs:"):
            # Whose folders end so. Not to ask for each of a million images.
            self._is_folder = False

    def is_dir(self, follow_symlinks=True):
        if self._is_folder is None:
            self._is_folder = call("isdir", self.path)
        return self._is_folder

    def is_file(self):
        return not self.is_dir()
