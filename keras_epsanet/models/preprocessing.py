"""What goes into the networks and what comes out, for ImageNet."""

import keras
import numpy as np
from keras.applications import imagenet_utils

# Channel means and standard deviations of RGB images in [0, 1].
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def preprocess_input(x, data_format=None):
    """Normalizes images as the paper does for ImageNet (section 4.1).

    Args:
        x: RGB images with values from 0 to 255, `(N, H, W, 3)` or
            `(H, W, 3)`, channels-first `(N, 3, H, W)` or `(3, H, W)`: an
            array or tensor, which is not changed, an image of Pillow, nested
            lists of numbers, or a list of any of them that have one shape.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.

    Returns:
        Array or tensor of the same shape: scaled to [0, 1], minus the mean,
        divided by the standard deviation of each channel.

    Raises:
        ValueError: If `data_format` is unknown, if there are not three
            channels, or if images of a list differ in shape.

    Example:

    >>> image = np.full((1, 2, 2, 3), 255.0)
    >>> preprocess_input(image)[0, 0, 0].round(3).tolist()
    [2.249, 2.429, 2.64]
    """
    data_format = data_format or keras.config.image_data_format()
    x = _as_array_or_tensor(x, data_format)
    _check_rgb(x.shape, data_format)
    if isinstance(x, np.ndarray):
        x = x.copy()  # Keras' own function overwrites float arrays ...
    elif keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype)):
        x = keras.ops.copy(x)  # ... and PyTorch's tensors ...
    else:
        x = keras.ops.cast(x, keras.config.floatx())  # ... or fails.
    return imagenet_utils.preprocess_input(
        x, data_format=data_format, mode="torch"
    )


def rescale(x, data_format=None, dtype=None, name=None):
    """Applies a layer that normalizes images as `preprocess_input` does.

    Args:
        x: Keras tensor of RGB images with values from 0 to 255, `(N, H, W,
            3)`, channels-first `(N, 3, H, W)`.
        data_format: As in `preprocess_input`.
        dtype: Dtype policy of what follows; `None` means the global one.
            Pixels are computed in float32 at least.
        name: Name of the layer.

    Returns:
        Keras tensor of the same shape.

    Raises:
        ValueError: If there are not three channels.

    Example:

    >>> image = keras.Input((64, 64, 3))
    >>> model = keras.Model(image, rescale(image, "channels_last"))
    >>> model.layers[-1].__class__.__name__
    'Rescaling'
    """
    data_format = data_format or keras.config.image_data_format()
    _check_rgb(x.shape, data_format, channels=(3,))
    # Of three axes, for Keras changes fewer by its own data format.
    shape = (3, 1, 1) if data_format == "channels_first" else (1, 1, 3)
    is_double = keras.dtype_policies.get(dtype).compute_dtype == "float64"
    mean, std = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    return keras.layers.Rescaling(
        scale=np.reshape(1 / (255 * std), shape).tolist(),
        offset=np.reshape(-mean / std, shape).tolist(),
        dtype="float64" if is_double else "float32",
        name=name,
    )(x)


def _check_rgb(shape, data_format, channels=(3, None)):
    axis = -3 if data_format == "channels_first" else -1
    if len(shape) not in (3, 4) or shape[axis] not in channels:
        raise ValueError(
            "Images must be RGB, with 3 channels. "
            f"Received: x of shape {tuple(shape)} ({data_format})"
        )


def _as_array_or_tensor(x, data_format):
    if hasattr(x, "getbands"):  # An image of Pillow.
        return keras.utils.img_to_array(x, data_format=data_format)
    if not isinstance(x, (list, tuple)):
        return x
    leaf = x
    while isinstance(leaf, (list, tuple)) and leaf:
        leaf = leaf[0]
    try:
        if not hasattr(leaf, "shape") and not hasattr(leaf, "getbands"):
            return np.array(x, dtype=keras.config.floatx())
        parts = [_as_array_or_tensor(part, data_format) for part in x]
        if all(isinstance(part, np.ndarray) for part in parts):
            return np.stack(parts)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The images of a list must have one shape: {error}"
        ) from error
    return keras.ops.stack(parts)


def decode_predictions(preds, top=5):
    """Names the most probable ImageNet classes.

    The class names are downloaded by Keras at the first call.

    Args:
        preds: Array `(N, 1000)` of probabilities.
        top: Integer, number of classes to return for each image.

    Returns:
        A list for each image of `(WordNet id, class name, probability)`,
        the most probable first.

    Raises:
        ValueError: If `preds` does not have the shape `(N, 1000)`.
    """
    return imagenet_utils.decode_predictions(preds, top=top)
