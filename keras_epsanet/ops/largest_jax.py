"""Maxima whose gradient does not compare numbers, for JAX."""

import functools

import jax
import jax.numpy as jnp


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def largest_over_jax(inputs, axis):
    """Maxima over axes, as `keras_epsanet.ops.largest.largest_over`.

    The gradient of `jax.numpy.max` goes to the elements that equal the
    maximum, divided by their number. XLA computes the elements once more to
    compare them, and may round them differently than those that the maximum
    was taken from: then none equals it, and the gradient is 0 / 0. Here it
    goes to the first element that is largest, by its index.

    Args:
        inputs: Array.
        axis: Integer, or a pair of integers that follow one another.
    """
    return jnp.max(inputs, axis)


@largest_over_jax.defjvp
def _largest_over_jax_jvp(axis, primals, tangents):
    (inputs,), (tangent,) = primals, tangents
    axes = [axis] if isinstance(axis, int) else list(axis)
    first, last = (x % inputs.ndim for x in (axes[0], axes[-1]))
    shape = (*inputs.shape[:first], -1, *inputs.shape[last + 1 :])
    flat = jnp.reshape(inputs, shape)
    index = jnp.argmax(flat, first, keepdims=True)
    places = jax.lax.broadcasted_iota(index.dtype, flat.shape, first)
    chosen = jnp.where(places == index, jnp.reshape(tangent, shape), 0)
    return largest_over_jax(inputs, axis), jnp.sum(chosen, first)
