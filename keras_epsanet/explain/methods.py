"""How activations and gradients become one map, each method a formula.

With A the activations, `(N, h, w, C)`, and G the gradients of the score.
"""

import numpy as np

_PIXELS = (1, 2)


def gradcam(activations, gradients):
    """Grad-CAM: channels count as much as the mean of their gradient.

    Args:
        activations: Float array `(N, h, w, C)`.
        gradients: Float array of the same shape.

    Returns:
        Float array `(N, h, w)`.

    Reference: [Selvaraju et al., 2017](https://arxiv.org/abs/1610.02391),
    equations 1 and 2.

    Example:

    >>> gradcam(np.full((1, 1, 2, 1), 3.0), np.full((1, 1, 2, 1), 2.0)).tolist()
    [[[6.0, 6.0]]]
    """
    return combine(activations, gradients.mean(axis=_PIXELS))


def gradcam_plus_plus(activations, gradients):
    """Grad-CAM++: pixels of positive gradient count, each by its own share.

    Args:
        activations, gradients: As in `gradcam`.

    Returns:
        Float array `(N, h, w)`.

    Reference: [Chattopadhyay et al., 2018](https://arxiv.org/abs/1710.11063),
    equations 11 and 19.
    """
    squared = gradients**2
    sums = activations.sum(axis=_PIXELS, keepdims=True)
    shares = squared / (2 * squared + sums * squared * gradients + 1e-6)
    shares = np.where(gradients != 0, shares, 0)
    weights = (np.maximum(gradients, 0) * shares).sum(axis=_PIXELS)
    return combine(activations, weights)


def layercam(activations, gradients):
    """LayerCAM: each pixel of a channel counts by its own gradient.

    Args:
        activations, gradients: As in `gradcam`.

    Returns:
        Float array `(N, h, w)`.

    Reference: [Jiang et al.,
    2021](https://ieeexplore.ieee.org/document/9462463).
    """
    return (np.maximum(gradients, 0) * activations).sum(axis=-1)


def combine(activations, weights):
    """Returns the sum of the channels, each with its weight.

    Args:
        activations: Float array `(N, h, w, C)`.
        weights: Float array `(N, C)`.

    Returns:
        Float array `(N, h, w)`.
    """
    return np.einsum("nhwc,nc->nhw", activations, weights)


METHODS = {
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
    "layercam": layercam,
}
