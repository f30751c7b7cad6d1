"""What a model does with its images before the network sees them."""

from typing import NamedTuple

import keras
import numpy as np

from keras_epsanet.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from keras_epsanet.weights.layer_names import STEM, network_layers


class Front(NamedTuple):
    """How pixels from 0 to 255 become what a network takes.

    Attributes:
        image_size: Pair of integers, height and width in pixels, or `None`
            where images of any size are taken as they are.
        mean: Floats, of each channel in [0, 1]; `None` for pixels as they
            are.
        std: Floats, standard deviations of the same.
        resizing: Dictionary of the arguments of `keras.layers.Resizing`
            beside the size, empty if the model resizes nothing.
        is_inside: Whether the model itself normalizes.
    """

    image_size: tuple | None
    mean: tuple | None
    std: tuple | None
    resizing: dict
    is_inside: bool

    @property
    def scale(self):
        """List of floats, the factors of pixels from 0 to 255, or `None`."""
        return self.mean and scale_and_offset(self.mean, self.std)[0]

    @property
    def offset(self):
        """List of floats, what is added to the products, or `None`."""
        return self.mean and scale_and_offset(self.mean, self.std)[1]


def scale_and_offset(mean, std):
    """What normalizes pixels from 0 to 255: a factor and what is added.

    Args:
        mean, std: Floats, of each channel of images in [0, 1].

    Returns:
        Pair of lists of floats.

    Example:

    >>> scale_and_offset([0.5], [0.5])[1]
    [-1.0]
    """
    scale = [1 / (255 * s) for s in std]
    return scale, [-m / s for m, s in zip(mean, std)]


def stem_input(model):
    """Returns the Keras tensor that the network in a model is called with.

    Args:
        model: A network of this package, whatever stands in front of it.
    """
    for name, layer in network_layers(model).items():
        if STEM.fullmatch(name):
            return layer.input
    raise ValueError(
        f"The model has no stem. Received: a model named {model.name}"
    )


def read_front(model):
    """Reads from a model how it resizes and normalizes its images.

    One that does not normalize them takes those of `preprocess_input`, if
    they have three channels.

    Args:
        model: A network of this package, or a classifier with one in it.

    Returns:
        `Front`.

    Raises:
        ValueError: If other layers than `Resizing` and `Rescaling` stand in
            front of the network.
    """
    tensor = stem_input(model)
    resizing = rescaling = None
    for layer in keras.Model(model.inputs, tensor).layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        if isinstance(layer, keras.layers.Resizing) and resizing is None:
            resizing = layer
        elif isinstance(layer, keras.layers.Rescaling) and rescaling is None:
            rescaling = layer
        else:
            raise ValueError(
                "In front of the network one Resizing and one Rescaling can "
                "be described to others, and no other layer. Received: "
                f"{layer.name} ({type(layer).__name__})"
            )
    mean, std = _normalization(rescaling, channels_of(model))
    return Front(
        _size_of(model, resizing),
        mean,
        std,
        _arguments(resizing),
        rescaling is not None,
    )


def channels_of(model):
    """Returns the number of channels of the images that a network takes."""
    is_last = data_format_of(model) == "channels_last"
    return stem_input(model).shape[-1 if is_last else 1]


def data_format_of(model):
    """Returns the data format of the network in a model."""
    layers = network_layers(model)
    return next(iter(layers.values())).data_format


def _normalization(rescaling, channels):
    if rescaling is None:
        return (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else (None, None)
    scale, offset = (
        np.broadcast_to(np.ravel(x), channels)
        for x in (rescaling.scale, rescaling.offset)
    )
    std = 1 / (255 * scale)
    # Without what is left of the two divisions.
    return tuple(tuple(np.round(x, 9).tolist()) for x in (-offset * std, std))


def _size_of(model, resizing):
    if resizing is not None:
        return resizing.height, resizing.width
    shape = model.inputs[0].shape[1:]
    is_last = data_format_of(model) == "channels_last"
    height, width = shape[:-1] if is_last else shape[1:]
    return None if None in (height, width) else (height, width)


def _arguments(resizing):
    if resizing is None:
        return {}
    names = (
        "interpolation",
        "antialias",
        "crop_to_aspect_ratio",
        "pad_to_aspect_ratio",
    )
    return {name: getattr(resizing, name) for name in names}
