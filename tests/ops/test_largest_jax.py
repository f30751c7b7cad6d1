import keras
import numpy as np
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("of JAX", allow_module_level=True)

import jax

from keras_epsanet.ops.largest_jax import largest_over_jax

# What XLA has to be told so that it rounds the two computations of `x * a + b`
# differently; at other levels it may, and does not on the processors tried.
LEVEL_0 = {"xla_backend_optimization_level": 0}


def rows(pixels=64, channels=7):
    random = np.random.default_rng(0)
    shapes = ((pixels, channels), (channels,), (channels,))
    return [random.standard_normal(x).astype("float32") for x in shapes]


@pytest.mark.parametrize("axis", [1, 3, -1, (1, 2), (2, 3)])
def test_the_gradient_goes_to_the_largest(axis):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    x = x.astype("float32")
    upstream = np.arange(1, 1 + x.max(axis).size).reshape(x.max(axis).shape)
    upstream = upstream.astype("float32")

    def loss(x):
        return (largest_over_jax(x, axis) * upstream).sum()

    is_largest = x == x.max(axis, keepdims=True)
    spread = np.expand_dims(upstream, axis)
    np.testing.assert_array_equal(
        jax.grad(loss)(x), np.where(is_largest, spread, 0)
    )


def test_of_equal_ones_it_goes_to_the_first():
    x = np.array([[1.0, 3.0, 3.0]], "float32")
    gradient = jax.grad(lambda x: largest_over_jax(x, 1).sum())(x)
    np.testing.assert_array_equal(gradient, [[0, 1, 0]])


def test_it_is_finite_where_xla_rounds_twice():
    x, a, b = rows()

    def loss(x, a, b):
        return largest_over_jax(x * a + b, 1).sum()

    compute = jax.jit(jax.grad(loss, (0, 1, 2)))
    compiled = compute.lower(x, a, b).compile(compiler_options=LEVEL_0)
    largest = np.argmax(x * a + b, 1)
    expected = np.zeros(7, "float32")
    np.add.at(expected, largest, x[np.arange(len(x)), largest])
    dx, da, _ = compiled(x, a, b)
    assert np.isfinite(dx).all()
    np.testing.assert_allclose(da, expected, rtol=1e-5)
