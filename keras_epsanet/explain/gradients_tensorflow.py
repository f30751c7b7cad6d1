"""Gradients at a layer on TensorFlow: a tape that begins there."""

import tensorflow as tf


def run(forward):
    """Returns a layer's output, the scores and the gradient of each.

    Args:
        forward: As in `activations_and_gradients`.

    Returns:
        Tensors `(N, ...)` and `(N, K)` and a list of K tensors `(N, ...)`.
    """
    seen = []

    def tap(x):
        # Nothing is recorded before, for nothing else is watched.
        tape.watch(x)
        seen.append(x)
        return x

    with tf.GradientTape(
        persistent=True, watch_accessed_variables=False
    ) as tape:
        scores = forward(tap)
        columns = tf.unstack(scores, axis=1)
    gradients = [
        tape.gradient(column, seen[0], unconnected_gradients="zero")
        for column in columns
    ]
    return seen[0], scores, gradients
