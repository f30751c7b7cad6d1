"""Images and maps as the pixels that are drawn."""

import numpy as np

from keras_epsanet.classification.pictures import import_pyplot
from keras_epsanet.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD

_COLORS = "turbo"


def as_pixels(images, data_format="channels_last"):
    """Returns images as they can be drawn.

    Args:
        images: Array `(N, H, W, 3)` or `(N, H, W, 1)`, from 0 to 255, from 0
            to 1, or normalized by `preprocess_input`: the range tells.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        Uint8 array `(N, H, W, 3)`.

    Example:

    >>> as_pixels(np.full((1, 1, 1, 1), 0.5)).tolist()
    [[[[128, 128, 128]]]]
    """
    images = np.asarray(images, "float32")
    if data_format == "channels_first":
        images = np.moveaxis(images, 1, -1)
    if images.min(initial=0) < 0:
        images = images * IMAGENET_STD + IMAGENET_MEAN
    if images.max(initial=0) <= 1 or images.min(initial=0) < 0:
        images = 255 * images
    images = np.repeat(images, 3 // images.shape[-1], axis=-1)
    return np.clip(np.round(images), 0, 255).astype("uint8")


def overlay(image, heat, strength=0.5):
    """Lays a map over an image.

    Args:
        image: Uint8 array `(H, W, 3)`.
        heat: Float array `(H, W)`, from 0 (blue) to 1 (red).
        strength: Float from 0 to 1, share of the map.

    Returns:
        Uint8 array `(H, W, 3)`.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    import_pyplot()
    from matplotlib import colormaps

    colors = 255 * colormaps[_COLORS](np.asarray(heat))[..., :3]
    mixed = strength * colors + (1 - strength) * np.asarray(image)
    return np.clip(np.round(mixed), 0, 255).astype("uint8")
