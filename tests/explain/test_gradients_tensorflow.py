"""Of this backend alone; what all have in common is in test_gradients.py."""

import keras
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("tensorflow only", allow_module_level=True)

import tensorflow as tf

from keras_epsanet.explain.gradients_tensorflow import run


def test_nothing_before_the_layer_is_recorded():
    """So that the pass backward ends there, whatever is trainable."""
    variable = tf.Variable([[2.0]])
    before = []

    @tf.custom_gradient
    def spy(x):
        def gradient(y):
            before.append(y)
            return y

        return tf.identity(x), gradient

    def forward(tap):
        return 3 * tap(spy(variable * 1.0)) * variable

    output, scores, (gradient,) = run(forward)
    assert float(output[0, 0]) == 2 and float(scores[0, 0]) == 12
    assert float(gradient[0, 0]) == 6 and not before
