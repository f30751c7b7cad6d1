"""Labelled images in a folder with one sub-folder for each class."""

import os
import random
import re
import threading
import warnings

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
SUBSETS = (None, "train", "held_out")


def image_folder(path, subset=None):
    """Images of a folder with one sub-folder for each class.

    The classes are the names of the sub-folders, sorted. Hidden files and
    folders and files with other endings are ignored; of an animated GIF the
    first frame is taken. The images come in an order that is mixed, so that
    a small shuffle buffer suffices, but always the same.

    Args:
        path: Folder. The images in its sub-folders end in `.jpg`, `.jpeg`,
            `.png`, `.bmp` or `.gif`, in small or capital letters.
        subset: `None` for all images, `"held_out"` for one in five of every
            class (the second, the seventh, ... in the order of their names),
            `"train"` for the others.

    Returns:
        A `tf.data.Dataset` of RGB images, uint8 `(height, width, 3)`, and
        classes, int64. It has the attributes `class_names`, `num_images`
        (of the files) and `undecodable`: a list of the files that are not
        images, which grows while the dataset is read. Such a file is named
        in a warning and skipped.

    Raises:
        ValueError: If there is no such folder, it has less than two classes
            or a class without images, or `subset` is unknown or empty.

    Example:

    >>> import os, keras
    >>> for name in ("pears", "apples"):
    ...     os.makedirs(f"fruit/{name}")
    ...     image = keras.ops.zeros((24, 32, 3))
    ...     keras.utils.save_img(f"fruit/{name}/1.png", image)
    >>> dataset = image_folder("fruit")
    >>> dataset.class_names, dataset.num_images
    (['apples', 'pears'], 2)
    >>> next(iter(dataset))[0].shape
    TensorShape([24, 32, 3])
    """
    import tensorflow as tf

    if subset not in SUBSETS:
        raise ValueError(
            '`subset` must be None, "train" or "held_out". '
            f"Received: subset={subset}"
        )
    class_names, files = list_files(os.fspath(path))
    pairs = [
        (file, label)
        for label, name in enumerate(class_names)
        for file in _select(files[name], subset)
    ]
    if not pairs:
        raise ValueError(
            "To hold out images a class must have at least two. "
            f"Received: path={path}, subset={subset}"
        )
    random.Random(0).shuffle(pairs)
    undecodable = _Undecodable()

    def decode(file):
        file = file.numpy().decode()
        try:
            return decode_image(file), True
        except ValueError as error:
            undecodable.add(file, error)
            return tf.zeros((1, 1, 3), "uint8"), False

    def load(file, label):
        # Python, because a graph cannot go on after a failure and name it.
        image, decoded = tf.py_function(decode, [file], ["uint8", "bool"])
        image.set_shape((None, None, 3))
        decoded.set_shape(())
        return image, label, decoded

    names, labels = zip(*pairs)
    dataset = tf.data.Dataset.from_tensor_slices(
        (list(names), tf.constant(labels, "int64"))
    )
    dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.filter(lambda image, label, decoded: decoded)
    dataset = dataset.map(lambda image, label, decoded: (image, label))
    dataset.class_names = class_names
    dataset.num_images = len(pairs)
    dataset.undecodable = undecodable.files
    return dataset


def decode_image(path):
    """Reads an image file.

    Args:
        path: Path of a JPEG, PNG, BMP or GIF file.

    Returns:
        Tensor, the RGB image as uint8 `(height, width, 3)`.

    Raises:
        ValueError: If there is no such file or it cannot be decoded.
    """
    import tensorflow as tf

    try:
        contents = tf.io.read_file(path)
    except tf.errors.OpError as error:
        raise _undecodable_error(path, error) from error
    return decode_contents(contents, path)


def decode_contents(contents, name):
    """Decodes the contents of an image file.

    Args:
        contents: Bytes of a JPEG, PNG, BMP or GIF file.
        name: Name for the message of an error.

    Returns:
        Tensor, the RGB image as uint8 `(height, width, 3)`.

    Raises:
        ValueError: If they cannot be decoded.
    """
    import tensorflow as tf

    try:
        return tf.io.decode_image(
            contents, channels=3, expand_animations=False
        )
    except tf.errors.OpError as error:
        raise _undecodable_error(name, error) from error


def _undecodable_error(name, error):
    # Without the names of TensorFlow's operations round the message.
    reason = re.sub(r"^\{\{.*?\}\} | \[Op:.*", "", error.message)
    return ValueError(f"{name} cannot be decoded as an image: {reason}")


class _Undecodable:
    """Files that could not be decoded, each once however often it is read."""

    def __init__(self):
        self.files = []
        self._lock = threading.Lock()

    def add(self, file, error):
        with self._lock:
            if file in self.files:
                return
            self.files.append(file)
        warnings.warn(f"An image is skipped. {error}")


def list_files(path):
    """Lists a folder with one sub-folder for each class.

    Args:
        path: Folder.

    Returns:
        The names of the classes, sorted, and a dictionary from each to the
        sorted paths of its image files.

    Raises:
        ValueError: If there is no such folder, it has less than two classes
            or a class without images.
    """
    if not os.path.isdir(path):
        raise ValueError(
            f"`path` must be a folder that exists. Received: path={path}"
        )
    with os.scandir(path) as entries:
        class_names = sorted(
            entry.name
            for entry in entries
            if entry.is_dir() and not entry.name.startswith(".")
        )
    if len(class_names) < 2:
        raise ValueError(
            "`path` must have a sub-folder for each of two classes or more. "
            f"Received: path={path} with the sub-folders {class_names}"
        )
    files = {
        name: _list_images(os.path.join(path, name)) for name in class_names
    }
    without = [name for name in class_names if not files[name]]
    if without:
        raise ValueError(
            f"Every class must have images ({', '.join(ENDINGS)}). "
            f"Received: path={path} with none in {', '.join(without)}"
        )
    return class_names, files


def _list_images(folder):
    with os.scandir(folder) as entries:
        return sorted(
            entry.path
            for entry in entries
            if entry.name.lower().endswith(ENDINGS)
            and not entry.name.startswith(".")
            and entry.is_file()
        )


def _select(files, subset):
    """The second of every five files is held out, one even of two files."""
    if subset == "held_out":
        return files[1::5]
    if subset == "train":
        return [file for i, file in enumerate(files) if i % 5 != 1]
    return files
