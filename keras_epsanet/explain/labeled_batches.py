"""Images with their classes, batch by batch, from whatever `fit` takes."""

import keras
import numpy as np

from keras_epsanet.explain.class_scores import check_scores
from keras_epsanet.explain.model_inputs import check_images, in_batches


def labeled_batches(model, data, batch_size):
    """Yields images and the numbers of their classes.

    Args:
        model: Functional or built `Sequential` `keras.Model` that returns
            `(N, classes)`.
        data: Pair of arrays, or what gives batches that are such pairs, as a
            `tf.data.Dataset`. Images are as `model` takes them; classes are
            integers `(N,)` or one-hot `(N, classes)`.
        batch_size: Integer, images in a batch of a pair of arrays.

    Yields:
        Pairs of an array of images and an int64 array `(N,)`.

    Raises:
        ValueError: If there is no image, or images or classes do not fit the
            model.

    Example:

    >>> model = keras.Sequential(
    ...     [keras.Input((2, 2, 1)), keras.layers.Flatten()]
    ... )
    >>> data = np.zeros((3, 2, 2, 1)), [3, 0, 1]
    >>> [y.tolist() for _, y in labeled_batches(model, data, batch_size=2)]
    [[3, 0], [1]]
    """
    number = check_scores(model)
    is_empty = True
    for images, labels in _pairs(data, batch_size):
        images, _ = check_images(model, images)
        yield images, _as_numbers(labels, len(images), number)
        is_empty = False
    if is_empty:
        raise ValueError(f"`data` must hold images. Received: data={data}")


def _pairs(data, batch_size):
    if isinstance(data, tuple) and len(data) == 2:
        images, labels = data
        if len(images) != len(labels):
            raise ValueError(
                "Each image must have a class. Received: "
                f"{len(images)} images and {len(labels)} classes"
            )
        for part in in_batches(images, batch_size):
            yield images[part], labels[part]
        return
    if not hasattr(data, "__iter__"):
        raise ValueError(
            "`data` must be a pair of images and classes or an iterable of "
            f"such pairs. Received: data={data}"
        )
    for batch in data:
        images, labels, _ = keras.utils.unpack_x_y_sample_weight(batch)
        yield images, labels


def _as_numbers(labels, images, classes):
    if keras.ops.is_tensor(labels):
        labels = keras.ops.convert_to_numpy(labels)
    labels = np.asarray(labels)
    numbers = labels
    if labels.shape == (images, classes):
        numbers = labels.argmax(axis=-1)
    is_number = numbers.shape == (images,) and numbers.dtype.kind in "iu"
    if not is_number or not 0 <= numbers.min() <= numbers.max() < classes:
        raise ValueError(
            f"Classes must be integers from 0 to {classes - 1}, one for each "
            f"image, or one-hot. Received: {labels}"
        )
    return numbers.astype("int64")
