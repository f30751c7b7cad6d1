import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet.ops.channel_scaling import scale_channels

RANDOM = np.random.default_rng(0)


def gradients(function, inputs, factors, upstream):
    """Outputs and the gradients of both operands."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            operands = tf.constant(inputs), tf.constant(factors)
            tape.watch(operands)
            outputs = function(*operands)
        return outputs, *tape.gradient(outputs, operands, tf.constant(upstream))
    if keras.backend.backend() == "jax":
        import jax

        outputs, gradient = jax.vjp(function, inputs, factors)
        return outputs, *gradient(upstream)
    import torch

    operands = [torch.tensor(x, requires_grad=True) for x in (inputs, factors)]
    outputs = function(*operands)
    found = torch.autograd.grad(outputs, operands, torch.tensor(upstream))
    return outputs.detach(), *found


@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (2, 3, 5, 4), (2, 3, 1, 1)])
def test_values_and_gradients_are_those_of_a_product(shape):
    of_factors = (2, 1, 1, 3) if shape[-1] == 3 else (2, 3, 1, 1)
    inputs, upstream = RANDOM.standard_normal((2, *shape))
    factors = RANDOM.uniform(0.1, 1, of_factors)
    factors[1, 0] = 0.0
    operands = [x.astype("float32") for x in (inputs, factors, upstream)]
    outputs, of_inputs, found = gradients(scale_channels, *operands)
    np.testing.assert_allclose(outputs, inputs * factors, rtol=1e-6)
    np.testing.assert_allclose(of_inputs, upstream * factors, rtol=1e-6)
    axes = tuple(i for i in (1, 2, 3) if of_factors[i] == 1)
    sums = (inputs * upstream).sum(axes, keepdims=True)
    if keras.backend.backend() != "jax":
        sums[factors == 0] = 0
    np.testing.assert_allclose(found, sums, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="XLA decides what is kept"
)
def test_the_second_gradient_is_that_of_a_product():
    inputs = RANDOM.standard_normal((2, 4, 4, 3)).astype("float32")
    factors = RANDOM.uniform(0.5, 1, (2, 1, 1, 3)).astype("float32")
    factors[1, 0, 0, 2] = 0  # Where both have cubes of 0.

    def second(function):
        def norm(inputs, factors):
            _, of_inputs, of_factors = of(function, inputs, factors)
            return ops.sum(of_inputs**2) + ops.sum(of_factors**2)

        return differentiate(norm, inputs, factors)

    def of(function, inputs, factors):
        return with_graph(
            lambda *x: ops.sum(function(*x) ** 3), inputs, factors
        )

    for x, y in zip(second(scale_channels), second(lambda a, b: a * b)):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4)


def with_graph(function, *operands):
    """A value and its gradients, which have gradients themselves."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(operands)
            value = function(*operands)
        return value, *tape.gradient(value, operands)
    import torch

    value = function(*operands)
    return value, *torch.autograd.grad(value, operands, create_graph=True)


def differentiate(function, *operands):
    operands = [ops.convert_to_tensor(x) for x in operands]
    if keras.backend.backend() == "torch":
        operands = [x.requires_grad_() for x in operands]
    _, *found = with_graph(function, *operands)
    return [ops.convert_to_numpy(x) for x in found]
