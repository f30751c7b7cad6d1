"""A convolution compiled on JAX, to be timed."""

import jax


def compile_steps(convolve, image, kernel, upstream):
    """Returns functions that compute and wait: forward, and with gradients.

    Args:
        convolve: Function of an image and a kernel.
        image, kernel, upstream: Arrays; the last is the gradient of the
            outputs.
    """
    image, kernel, upstream = map(jax.device_put, (image, kernel, upstream))

    @jax.jit
    def gradients(image, kernel, upstream):
        return jax.vjp(convolve, image, kernel)[1](upstream)

    forward = jax.jit(convolve)
    return (
        lambda: jax.block_until_ready(forward(image, kernel)),
        lambda: jax.block_until_ready(gradients(image, kernel, upstream)),
    )
