"""How many devices and processes share a batch, and what they tell each other.

TensorFlow alone runs a loss and an optimizer per replica; elsewhere there is
one of each, and gradients come summed already.
"""

import keras
from keras import ops


def current_strategy():
    """The strategy that runs this code, where every replica runs it."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    return tf.distribute.get_strategy()


def num_replicas(strategy):
    """Counts the devices, on all workers, that share each batch.

    Args:
        strategy: What `keras_epsanet.distribution.make_strategy` returned,
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
        strategy: What `keras_epsanet.distribution.make_strategy` returned.

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


def sum_over_replicas(tensors):
    """Returns dense tensors, each the sum of those of all replicas."""
    if keras.backend.backend() != "tensorflow":
        return list(tensors)
    import tensorflow as tf

    # A gradient of embeddings may be sparse, which no L2 term would be.
    tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensors
    # TensorFlow packs what it reduces together, which has one dtype.
    sums = {}
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        alike = [tensor for tensor in tensors if tensor.dtype == dtype]
        sums[dtype] = iter(
            context.all_reduce(tf.distribute.ReduceOp.SUM, alike)
        )
    return [next(sums[tensor.dtype]) for tensor in tensors]


def replica():
    """Returns which replica runs this code, and how many there are.

    Returns:
        Pair of an integer, or an int32 scalar, from 0 on and an integer;
        `(0, 1)` where one program computes the whole batch.
    """
    if keras.backend.backend() != "tensorflow":
        return 0, 1
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None:
        return 0, 1
    return context.replica_id_in_sync_group, context.num_replicas_in_sync


def true_on_all_replicas(flag):
    """Whether a boolean scalar is true on every replica."""
    missing = ops.cast(ops.logical_not(flag), "float32")
    return ops.equal(sum_over_replicas([missing])[0], 0)


def share_statistics(model):
    """Gives every replica the means of the BatchNorm statistics of all.

    In a training each replica moves its own, of which Keras evaluates all and
    saves the first. They move linearly, so that it does not matter when, or
    how often, the means are taken. Equal ones stay as they are.

    Args:
        model: Built `keras.Model`.
    """
    if num_replicas(getattr(model, "distribute_strategy", None)) == 1:
        return
    statistics = [
        variable
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
        for variable in (layer.moving_mean, layer.moving_variance)
    ]
    share_means(model, statistics)


def share_means(model, variables):
    """Gives every replica the means of the values that all have.

    Args:
        model: Built `keras.Model`.
        variables: Those of its variables of which replicas may have others.
    """
    strategy = getattr(model, "distribute_strategy", None)
    if num_replicas(strategy) == 1:
        return
    import tensorflow as tf

    def share():
        # In float64 the mean of equal numbers is the same number.
        means = tf.distribute.get_replica_context().all_reduce(
            tf.distribute.ReduceOp.MEAN,
            [tf.cast(variable.value, "float64") for variable in variables],
        )
        assign_on_replicas(
            [
                (variable, tf.cast(mean, variable.dtype))
                for variable, mean in zip(variables, means)
            ]
        )

    tf.function(lambda: strategy.run(share))()


def assign_on_replicas(updates):
    """Assigns to each variable its new value, the same on all replicas.

    Args:
        updates: List of pairs, variable and tensor. All tensors are computed
            before the first of them is assigned.
    """
    if keras.backend.backend() != "tensorflow":
        for variable, value in updates:
            variable.assign(value)
        return
    import tensorflow as tf

    def assign_all(strategy, variables, values):
        for variable, value in zip(variables, values):
            strategy.extended.update(
                variable,
                lambda variable, value: variable.assign(value),
                args=(value,),
                group=False,
            )

    variables = [
        v.value if isinstance(v, keras.Variable) else v for v, _ in updates
    ]
    tf.__internal__.distribute.interim.maybe_merge_call(
        assign_all,
        tf.distribute.get_strategy(),
        variables,
        [value for _, value in updates],
    )
