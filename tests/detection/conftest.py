import pathlib

import keras
import numpy as np
import pytest


@pytest.fixture
def plain(monkeypatch):
    """The module `plain_boxes` of this folder."""
    monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parent))
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
