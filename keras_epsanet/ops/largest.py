"""Maxima over axes, with a gradient on every backend."""

import keras
from keras import ops


def largest_over(inputs, axis):
    """Returns the maxima over an axis, or over two neighboring ones.

    Args:
        inputs: Tensor.
        axis: Integer, or a pair of integers that follow one another.
    """
    if keras.backend.backend() == "jax":
        from keras_epsanet.ops.largest_jax import largest_over_jax

        return largest_over_jax(inputs, axis)
    return ops.max(inputs, axis=axis)
