"""Images times a factor for each of their channels, with little kept."""

import keras


def scale_channels(inputs, factors):
    """Multiplies, and keeps the product for the gradient, not the inputs.

    The gradient of a factor is the sum of the inputs times the gradients of
    the outputs. It is computed from the products instead: their sum, divided
    by the factor, is the same. The products are kept anyway where a BatchNorm
    follows, so that a training step takes less memory.

    Args:
        inputs: Tensor `(N, H, W, C)` or `(N, C, H, W)`.
        factors: Tensor `(N, 1, 1, C)` or `(N, C, 1, 1)`, of a softmax or
            sigmoid. A factor of 0 gets a gradient of 0, as these would give
            it: do not take a gate that starts at 0 and has to learn.

    Returns:
        Tensor of the shape of the inputs.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        from keras_epsanet.ops.channel_scaling_tensorflow import (
            scale_channels_tensorflow as scale,
        )
    elif backend == "torch":
        from keras_epsanet.ops.channel_scaling_torch import (
            scale_channels_torch as scale,
        )
    else:
        return inputs * factors  # XLA decides what is kept.
    return scale(inputs, factors)
