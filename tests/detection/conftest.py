import pathlib
import sys

import keras
import numpy as np
import pytest

# For the modules that tests of this folder share.
sys.path.insert(0, str(pathlib.Path(__file__).parent))


@pytest.fixture
def plain():
    """The module `plain_boxes` of this folder."""
    import plain_boxes

    return plain_boxes


@pytest.fixture
def gradient_of():
    """Function from a scalar function and an array to its gradient."""
    return _gradient_of


def _gradient_of(function, values):
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        values = tf.constant(values)
        with tf.GradientTape() as tape:
            tape.watch(values)
            result = function(values)
        return tape.gradient(result, values).numpy()
    if backend == "jax":
        import jax

        return np.asarray(jax.grad(function)(values))
    import torch

    values = torch.tensor(values, requires_grad=True)
    function(values).backward()
    return values.grad.numpy()
