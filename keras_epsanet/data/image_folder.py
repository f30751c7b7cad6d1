"""Labeled images in a folder with one sub-folder for each class."""

import fractions
import math
import os
import random
import threading
import warnings

from keras_epsanet.data.class_folders import list_class_files
from keras_epsanet.data.decode import decode_image
from keras_epsanet.data.file_names import printable

SUBSETS = (None, "train", "held_out")


def image_folder(path, subset=None, held_out_share=0.2):
    """Images of a folder with one sub-folder for each class.

    The classes are the names of the sub-folders, sorted; folders in them
    belong to the same class. Hidden files and folders and files with other
    endings are left out and counted. Images are upright, whatever way the
    camera was held; of an animation the first frame is taken. They come in an
    order that is mixed, so that a small shuffle buffer suffices, but always
    the same.

    Lines such as "Corrupt JPEG data: 9 extraneous bytes before marker 0xd9"
    come from the JPEG library in TensorFlow, which has no switch for them.
    They tell of a slip that does no harm, each time the file is read.

    Args:
        path: Folder. The images in its sub-folders end in `.jpg`, `.jpeg`,
            `.png`, `.webp`, `.bmp` or `.gif`, in small or capital letters.
        subset: `None` for all images, `"held_out"` for a share of every
            class, `"train"` for the others.
        held_out_share: Number between 0 and 1. By the default of 0.2 one in
            five is held out: the second, the seventh, ... in the order of
            their names. Always the second, so one even of two.

    Returns:
        A `tf.data.Dataset` of RGB images, uint8 `(height, width, 3)`, and
        classes, int64. It has the attributes `class_names`, `num_images`
        (of the files), `left_out`, a dictionary from the reasons for which
        files of the folder are not read, such as `".txt"`, to how many there
        are, and `undecodable`, a list of the files that are not images, which
        grows while the dataset is read. Such a file is named in a warning and
        skipped.

    Raises:
        ValueError: If there is no such folder, it has less than two classes
            or a class without images, or `subset` is unknown or empty, or
            `held_out_share` is not between 0 and 1.

    Example:

    >>> import os, keras
    >>> for name in ("pears", "apples"):
    ...     os.makedirs(f"fruit/{name}")
    ...     image = keras.ops.zeros((24, 32, 3))
    ...     keras.utils.save_img(f"fruit/{name}/1.png", image)
    >>> dataset = image_folder("fruit")
    >>> dataset.class_names, dataset.num_images, dataset.left_out
    (['apples', 'pears'], 2, {})
    >>> next(iter(dataset))[0].shape
    TensorShape([24, 32, 3])
    """
    import tensorflow as tf

    _check(subset, held_out_share)
    class_names, files, left_out = list_class_files(os.fspath(path))
    pairs = [
        (os.fsencode(file), label)
        for label, name in enumerate(class_names)
        for file in _select(files[name], subset, held_out_share)
    ]
    if not pairs:
        raise ValueError(
            "To hold out images a class must have at least two. "
            f"Received: path={printable(path)}, subset={subset}"
        )
    random.Random(0).shuffle(pairs)
    undecodable = _Undecodable()

    def decode(file):
        file = file.numpy()
        try:
            return decode_image(file), True
        except ValueError as error:
            undecodable.add(printable(file), error)
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
    dataset.left_out = left_out
    dataset.undecodable = undecodable.files
    return dataset


def _check(subset, held_out_share):
    if subset not in SUBSETS:
        raise ValueError(
            '`subset` must be None, "train" or "held_out". '
            f"Received: subset={subset}"
        )
    if not 0 < held_out_share < 1:
        raise ValueError(
            "`held_out_share` must be between 0 and 1. "
            f"Received: held_out_share={held_out_share}"
        )


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
        warnings.warn(f"An image is skipped. {error}", stacklevel=2)


def _select(files, subset, held_out_share):
    """The files of a subset, in the order of all."""
    if subset is None:
        return files
    # Exact, for 15 times a float of 0.2 may not be 3.
    share = fractions.Fraction(float(held_out_share)).limit_denominator(10**6)
    # Of the first i + 1 files as many are held out as i times the share,
    # rounded up.
    numbers = [math.ceil(i * share) for i in range(-1, len(files))]
    held_out = [before < n for before, n in zip(numbers, numbers[1:])]
    return [
        file
        for file, chosen in zip(files, held_out)
        if chosen == (subset == "held_out")
    ]
