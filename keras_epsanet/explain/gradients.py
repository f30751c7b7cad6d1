"""The gradient of scores with respect to what a layer returns."""

import contextlib
import importlib

import keras
import numpy as np

# A power of two, which changes no digit: of small gradients float16 would
# lose some.
_SCALE = 1024.0


def activations_and_gradients(forward):
    """Runs a model once forward, and backward for each score of an image.

    Args:
        forward: Function that runs the model. It is given a function, which
            it must apply once to the output of the layer and go on with the
            result; it returns scores `(N, K)`.

    Returns:
        Float32 arrays: what the layer returned, `(N, ...)`; the scores,
        `(N, K)`; the gradient of each, `(K, N, ...)`.

    Raises:
        ValueError: If the layer is not called once.

    Example:

    >>> x = keras.ops.array([[1.0, 2.0]])
    >>> found = activations_and_gradients(lambda tap: tap(x) ** 2)
    >>> found[0].tolist(), found[1].tolist(), found[2].tolist()
    ([[1.0, 2.0]], [[1.0, 4.0]], [[[2.0, 0.0]], [[0.0, 4.0]]])
    """
    backend = keras.backend.backend()
    name = f"keras_epsanet.explain.gradients_{backend}"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(
            "Gradients need TensorFlow, PyTorch or JAX. "
            f"Received: backend {backend}"
        ) from error

    def scaled(tap):
        calls = []

        def count(x):
            calls.append(x)
            return tap(x)

        scores = keras.ops.cast(forward(count), "float32")
        if len(calls) != 1:
            raise ValueError(
                "A layer must be called once for the model's scores. "
                f"Received: a layer that is called {len(calls)} times"
            )
        return scores * _SCALE

    activations, scores, gradients = module.run(scaled)
    gradients = [to_float32(x) / _SCALE for x in gradients]
    return (
        to_float32(activations),
        to_float32(scores) / _SCALE,
        np.stack(gradients),
    )


def activations_and_scores(forward):
    """Runs a model once, as `activations_and_gradients`, only forward.

    Args:
        forward: As there.

    Returns:
        Float32 arrays: what the layer returned, and the scores.
    """
    seen = []

    def tap(x):
        seen.append(x)
        return x

    with no_gradients():
        scores = forward(tap)
    return to_float32(seen[0]), to_float32(scores)


def no_gradients():
    """Returns a context in which PyTorch keeps nothing for a gradient."""
    if keras.backend.backend() != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.no_grad()


def to_float32(tensor):
    """Returns a tensor as an array, for NumPy has no bfloat16.

    Args:
        tensor: Tensor of any type of numbers.
    """
    tensor = keras.ops.cast(tensor, "float32")
    return keras.ops.convert_to_numpy(tensor)
