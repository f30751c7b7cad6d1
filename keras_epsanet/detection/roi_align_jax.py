"""ROIAlign on JAX with a number of samples that differs from box to box."""

import functools

import jax
import jax.numpy as jnp

from keras_epsanet.detection.roi_align_gathers import (
    Places,
    corner_pixels,
    neighbors,
    samples_of_pixels,
)


def align(rows, places, output_size):
    """Means of as many samples as there are pixels in a bin.

    The samples of all boxes are taken one after the other, in a loop whose
    length is that of the largest box. JAX cannot derive such a loop, whose
    result is linear in the features: the gradient is a loop too.

    Args:
        rows: Float tensor `(pixels, C)` of all levels.
        places: `Places`.
        output_size: Integer, height and width of the result.

    Returns:
        Tensor `(boxes, output_size, output_size, C)`.
    """
    return _align_compiled(rows, tuple(places), output_size)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _align(rows, places, output_size):
    places = Places(*places)
    bins = output_size, output_size
    total = jnp.zeros((len(places.first), *bins, rows.shape[-1]), jnp.float32)

    def add(pixels, weights, total):
        values = rows[pixels].astype(jnp.float32)
        return total + values * weights[..., None]

    return _loop(places, output_size, add, total).astype(rows.dtype)


def _forward(rows, places, output_size):
    return _align(rows, places, output_size), (rows, places)


def _backward(output_size, kept, gradient):
    rows, places = kept
    gradient = gradient.astype(jnp.float32)

    def add(pixels, weights, total):
        return total.at[pixels].add(gradient * weights[..., None])

    total = jnp.zeros(rows.shape, jnp.float32)
    total = _loop(Places(*places), output_size, add, total)
    return total.astype(rows.dtype), None


_align.defvjp(_forward, _backward)
# Outside of a compiled function too, where a loop would be compiled each time.
_align_compiled = jax.jit(_align, static_argnums=2)


def _loop(places, output_size, add, total):
    """Adds all samples to a total, those of every box by its own number."""
    ratios = samples_of_pixels(places, output_size)
    most = jnp.max(ratios, axis=0, initial=1)
    x1, y1, x2, y2 = (places.boxes[:, i] for i in range(4))
    bins = jnp.arange(output_size, dtype=jnp.float32)

    def axis_of(first, last, size, ratio, number):
        shares = (bins + (number + 0.5) / ratio[:, None]) / output_size
        left = (number < ratio)[:, None] / ratio[:, None]
        return [
            (index, weight * left)
            for index, weight in neighbors(first, last, size, shares)
        ]

    def step(state):
        number, total = state
        row, column = number // most[1], number % most[1]
        corners = corner_pixels(
            places,
            axis_of(y1, y2, places.sides[0], ratios[:, 0], row),
            axis_of(x1, x2, places.sides[1], ratios[:, 1], column),
        )
        for pixels, weights in corners:
            total = add(pixels, weights, total)
        return number + 1, total

    _, total = jax.lax.while_loop(
        lambda state: state[0] < most[0] * most[1],
        step,
        (jnp.int32(0), total),
    )
    return total
