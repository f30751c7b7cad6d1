"""How many devices share a batch."""


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
