"""How many devices and processes share a batch."""

import keras


def num_replicas(strategy):
    """Counts the devices, on all workers, that share each batch.

    Args:
        strategy: What `keras_epsanet.training.make_strategy` returned,
            another `tf.distribute.Strategy` or a
            `keras.distribution` of Keras; `None` is one device.

    Returns:
        Integer.
    """
    if strategy is None:
        return 1
    if hasattr(strategy, "num_replicas_in_sync"):
        return strategy.num_replicas_in_sync
    return strategy.num_model_replicas


def worker(strategy):
    """Returns the number of this process and of all, on TensorFlow.

    Args:
        strategy: What `keras_epsanet.training.make_strategy` returned.

    Returns:
        Pair of integers; `(0, 1)` where there is one process, and on other
        backends.
    """
    if keras.backend.backend() != "tensorflow":
        return 0, 1
    import tensorflow as tf

    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0, 1
    ids = strategy.experimental_local_results(
        strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(context.replica_id_in_sync_group)
        )
    )
    return int(ids[0]) // len(ids), num_replicas(strategy) // len(ids)
