"""A function of images and weights compiled on JAX, to be timed."""

import jax


def compile_steps(function, images, weights, upstream):
    """Returns functions that compute and wait: forward, and with gradients.

    Args:
        function: Function of images and weights, such as a convolution.
        images, upstream: Arrays; the last is the gradient of the outputs.
        weights: Array, or list of them.
    """
    images, weights, upstream = jax.device_put((images, weights, upstream))

    @jax.jit
    def gradients(images, weights, upstream):
        return jax.vjp(function, images, weights)[1](upstream)

    forward = jax.jit(function)
    return (
        lambda: jax.block_until_ready(forward(images, weights)),
        lambda: jax.block_until_ready(gradients(images, weights, upstream)),
    )
