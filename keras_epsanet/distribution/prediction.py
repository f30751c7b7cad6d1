"""Predictions for any number of images on any number of devices."""

import keras
import numpy as np

from keras_epsanet.distribution.input_batches import batches, check_number
from keras_epsanet.distribution.replicas import num_replicas, worker


def predict(model, dataset, strategy=None, batch_size=32):
    """Predicts for every image of a dataset or an array, in its order.

    Args:
        model: A compiled or uncompiled `keras.Model`.
        dataset: Finite batched `tf.data.Dataset` as in `pad_to_devices`, a
            list of batches of images, or all images in a NumPy array, a
            tensor or a dictionary of them.
        strategy: What `keras_epsanet.distribution.make_strategy` returned;
            `None` is that of the model.
        batch_size: Integer, images of an array that are computed at a time.

    Returns:
        NumPy array `(images, ...)`, or a structure of them, as of
        `model.predict`.

    Raises:
        ValueError: If there is no image, several workers share it, or
            `batch_size` is not a positive integer.

    Example:

    >>> import numpy as np
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> predict(model, [np.ones((4, 4)), np.ones((1, 4))]).shape
    (5, 2)
    >>> predict(model, np.ones((5, 4))).shape
    (5, 2)
    """
    if strategy is None:
        strategy = _strategy_of(model)
    if worker(strategy)[1] > 1:
        raise ValueError(
            "One worker predicts. "
            f"Received: strategy of {worker(strategy)[1]} workers"
        )
    check_number("batch_size", batch_size)
    number = num_replicas(strategy)
    parts = []
    for batch in batches(dataset, batch_size):
        batch = batch if isinstance(batch, tuple) else (batch,)
        images, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
        images = keras.tree.map_structure(np.asarray, images)
        count = len(keras.tree.flatten(images)[0])
        size = -(-count // number) * number
        places = np.minimum(np.arange(size), count - 1)
        predictions = model.predict(
            _take(images, places),
            batch_size=size,
            verbose=0,
        )
        parts.append(_take(predictions, slice(count)))
    if not parts:
        raise ValueError("There must be an image. Received: no batch")
    return keras.tree.map_structure(lambda *x: np.concatenate(x), *parts)


def _strategy_of(model):
    if keras.backend.backend() == "tensorflow":
        return getattr(model, "distribute_strategy", None)
    return keras.distribution.distribution()


def _take(arrays, places):
    return keras.tree.map_structure(lambda x: x[places], arrays)
