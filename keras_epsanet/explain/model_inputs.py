"""Images as a model takes them, checked before anything is computed."""

import keras
import numpy as np

from keras_epsanet.detection.detector import Detector
from keras_epsanet.detection.pictures import prepare, resize
from keras_epsanet.explain.gradients import no_gradients, to_float32
from keras_epsanet.explain.layer_search import find_data_format
from keras_epsanet.graph.visit import check_functional


def check_images(model, images):
    """Returns images as an array, if a model takes them.

    Args:
        model: Functional or built `Sequential` `keras.Model` of one input.
        images: Array or tensor `(N, H, W, C)`, or `(N, C, H, W)` of a model
            with channels first.

    Returns:
        The array, and the pair of its height and width.

    Raises:
        ValueError: If the model has no graph or several inputs, or the shape
            is another one.

    Example:

    >>> model = keras.Sequential(
    ...     [keras.Input((None, None, 3)), keras.layers.ReLU()]
    ... )
    >>> check_images(model, np.zeros((2, 4, 6, 3)))[1]
    (4, 6)
    """
    check_functional(model)
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        shapes = [tuple(x.shape) for x in model.inputs]
        raise ValueError(
            "`model` must take one input of images. "
            f"Received: a model of the inputs {shapes}"
        )
    if keras.ops.is_tensor(images):
        images = keras.ops.convert_to_numpy(images)
    images = np.asarray(images)
    wanted = tuple(model.inputs[0].shape)
    fits = len(images.shape) == 4 and all(
        size in (None, found) for size, found in zip(wanted, images.shape)
    )
    if not fits or not images.size or images.dtype.kind not in "fiub":
        raise ValueError(
            f"`images` must be numbers of the shape {wanted}. "
            f"Received: images of the shape {images.shape}, {images.dtype}"
        )
    is_last = find_data_format(model) == "channels_last"
    return images, images.shape[1:3] if is_last else images.shape[2:]


def as_model_takes(model, image):
    """Returns one image as a batch for a model, of a fixed size if need be.

    Args:
        model: Classifier of RGB images from 0 to 255, or `Detector`.
        image: Array `(H, W, 3)`, from 0 to 255.

    Returns:
        Float32 array `(1, H, W, 3)`.
    """
    size = model.input_shape[1:3]
    if isinstance(model, Detector):
        image = prepare(image, model.image_size, size).inputs
    elif None not in size:
        image = resize(image, size)
    return np.asarray(image, "float32")[None]


def in_batches(images, batch_size):
    """Yields slices of images.

    Args:
        images: Array.
        batch_size: Positive integer.

    Yields:
        Slices, in order.
    """
    for start in range(0, len(images), batch_size):
        yield slice(start, start + batch_size)


def as_input(model, images):
    """Returns images as the tensor that a model takes.

    Args:
        model: `keras.Model` of one input.
        images: Array.
    """
    images = keras.ops.convert_to_tensor(images)
    return keras.ops.cast(images, model.inputs[0].dtype)


def run(model, images):
    """Returns what a model returns in inference, without a gradient.

    Args:
        model: `keras.Model` of one input.
        images: Array.

    Returns:
        Float32 array, of several outputs the first.

    Example:

    >>> model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.ReLU()])
    >>> float(run(model, np.full((1, 2, 2, 1), -1.0)).max())
    0.0
    """
    with no_gradients():
        outputs = model(as_input(model, images), training=False)
    return to_float32(keras.tree.flatten(outputs)[0])
