"""What an optimizer's replicas tell each other, where there are several.

TensorFlow alone runs one optimizer per replica; elsewhere gradients come
summed already, and these functions do nothing but assign.
"""

import keras
from keras import ops


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
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def true_on_all_replicas(flag):
    """Whether a boolean scalar is true on every replica."""
    missing = ops.cast(ops.logical_not(flag), "float32")
    return ops.equal(sum_over_replicas([missing])[0], 0)


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
