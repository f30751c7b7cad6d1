"""Predictions for any number of images on any number of devices."""

import keras
import numpy as np

from keras_epsanet.distribution.input_batches import batches
from keras_epsanet.distribution.replicas import num_replicas, worker
from keras_epsanet.integers import check_positive


def predict(model, dataset, strategy=None, batch_size=32):
    """Predicts for every image of a dataset or an array, in its order.

    Of several workers each predicts for its own images, on its devices alone:
    they may have other images, and other numbers of them.

    Args:
        model: A compiled or uncompiled `keras.Model`.
        dataset: Finite batched `tf.data.Dataset` as in `pad_to_devices`, a
            list of batches of images, or all images in a NumPy array, a
            tensor or a dictionary of them. Empty batches are left out.
        strategy: What `keras_epsanet.distribution.make_strategy` returned;
            `None` is that of the model.
        batch_size: Integer, images of an array that are computed at a time.

    Returns:
        NumPy array `(images, ...)`, or a structure of them, as of
        `model.predict`.

    Raises:
        ValueError: If there is no image, or `batch_size` is not a positive
            integer.

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
    check_positive(batch_size=batch_size)
    workers = worker(strategy)[1]
    number = num_replicas(strategy) // workers
    parts = []
    for batch in batches(dataset, batch_size):
        batch = batch if isinstance(batch, tuple) else (batch,)
        images, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
        images = keras.tree.map_structure(keras.ops.convert_to_numpy, images)
        count = len(keras.tree.flatten(images)[0])
        if not count:
            continue
        size = -(-count // number) * number
        places = np.minimum(np.arange(size), count - 1)
        images = _take(images, places)
        if workers > 1:
            predictions = _predict_alone(model, images, strategy)
        else:
            predictions = model.predict(images, batch_size=size, verbose=0)
        parts.append(_take(predictions, slice(count)))
    if not parts:
        raise ValueError("There must be an image. Received: none")
    return keras.tree.map_structure(lambda *x: np.concatenate(x), *parts)


def _predict_alone(model, images, strategy):
    """Predicts on the devices of this worker, which divide the images.

    Keras' own `predict` has all workers predict parts of the same batches.
    """
    number = num_replicas(strategy) // worker(strategy)[1]

    def part(context):
        place = context.replica_id_in_sync_group % number
        return _take(images, slice(place, None, number))

    values = strategy.experimental_distribute_values_from_function(part)
    outputs = _step_alone(model, strategy)(values)
    found = keras.tree.map_structure(
        lambda x: np.stack(strategy.experimental_local_results(x), axis=1),
        outputs,
    )
    # One image of each device after the other, as they were divided.
    return keras.tree.map_structure(
        lambda x: x.reshape(-1, *x.shape[2:]), found
    )


def _step_alone(model, strategy):
    """The traced step, which lasts as long as the one that Keras has."""
    import tensorflow as tf

    model.make_predict_function()
    kept = model.predict_function
    if not hasattr(kept, "of_worker_alone"):
        kept.of_worker_alone = tf.function(
            lambda values: strategy.run(model.predict_step, args=(values,)),
            reduce_retracing=True,
        )
    return kept.of_worker_alone


def _strategy_of(model):
    if keras.backend.backend() == "tensorflow":
        return getattr(model, "distribute_strategy", None)
    return keras.distribution.distribution()


def _take(arrays, places):
    return keras.tree.map_structure(lambda x: x[places], arrays)
