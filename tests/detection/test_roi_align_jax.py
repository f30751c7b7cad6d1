import keras
import numpy as np
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("a loop of JAX", allow_module_level=True)

import jax
import jax.numpy as jnp

from keras_epsanet.detection.roi_align import pyramid_roi_align

BOXES = np.array(
    [[[0, 0, 90, 30], [5, 6, 20, 120], [-30, 9, 200, 100], [0, 0, 8, 8]]],
    "float32",
)


def make_levels(dtype="float32"):
    random = np.random.default_rng(0)
    return [
        jnp.asarray(random.normal(size=(1, 64 // s, 64 // s, 3)), dtype)
        for s in (1, 2, 4)
    ]


def align(levels, boxes=BOXES):
    return pyramid_roi_align(levels, (2, 4, 8), boxes, 3, 0)


def test_a_compiled_function_has_the_same_values_and_gradients():
    levels = make_levels()
    upstream = np.random.default_rng(1).normal(size=(1, 4, 3, 3, 3))

    def total(levels):
        return jnp.sum(align(levels) * upstream)

    np.testing.assert_allclose(jax.jit(align)(levels), align(levels), atol=1e-5)
    plain, compiled = jax.grad(total)(levels), jax.jit(jax.grad(total))(levels)
    # The total is linear in the features.
    change = sum(jnp.sum(a * b) for a, b in zip(plain, levels))
    assert float(change) == pytest.approx(float(total(levels)), rel=1e-4)
    for first, second in zip(plain, compiled):
        np.testing.assert_allclose(first, second, atol=1e-5)


def test_boxes_have_no_gradient():
    levels = make_levels()
    gradient = jax.grad(lambda boxes: jnp.sum(align(levels, boxes)))(BOXES)
    np.testing.assert_array_equal(gradient, 0)


def test_half_precision_is_that_of_the_features():
    levels = make_levels("bfloat16")
    gradients = jax.grad(lambda x: jnp.sum(align(x).astype("float32")))(levels)
    assert align(levels).dtype == "bfloat16"
    assert all(x.dtype == "bfloat16" for x in gradients)
