"""Of this backend alone; what all have in common is in test_gradients.py."""

import keras
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("jax only", allow_module_level=True)

import jax.numpy as jnp

from keras_epsanet.explain.gradients_jax import run


def test_the_shape_is_found_without_computing_anything():
    computed = []

    def forward(tap):
        x = tap(jnp.full((2, 3), 2.0))
        computed.append(
            hasattr(x, "aval") and not hasattr(x, "addressable_data")
        )
        return 3 * x[:, :1] ** 2

    output, scores, (gradient,) = run(forward)
    assert output.shape == (2, 3) and scores.tolist() == [[12.0], [12.0]]
    assert gradient.tolist() == [[12.0, 0, 0]] * 2
    assert len(computed) == 2
