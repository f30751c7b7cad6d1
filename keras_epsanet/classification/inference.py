"""Images of all sizes in batches for a saved classifier, and its classes."""

import keras
import numpy as np

from keras_epsanet.layers import ClassNames


def find_class_names(model):
    """Returns the layer of a classifier that knows the classes' names.

    Args:
        model: `keras.Model`.

    Returns:
        `ClassNames`.

    Raises:
        ValueError: If there is none.
    """
    for layer in model.layers:
        if isinstance(layer, ClassNames):
            return layer
    raise ValueError("it has no layer ClassNames")


def resizing(model):
    """Returns the layer that resizes a model's images, or an identity.

    An image that is resized before the model goes through it unchanged, so
    that images of all sizes fit into a batch.

    Args:
        model: `keras.Model`.

    Returns:
        Function of a batch of images.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.Resizing):
            return layer
    return lambda images: images


def same_shapes(images, size, resize):
    """Puts images that follow each other and have one shape into batches.

    Args:
        images: Iterable of pairs, path (or what tells it) and image.
        size: Integer, images in a batch at most.
        resize: Function of a batch of images.

    Yields:
        Pairs of a list of paths and a float32 array `(N, H, W, 3)`.

    Example:

    >>> images = [("a", np.ones((4, 6, 3))), ("b", np.ones((4, 6, 3)))]
    >>> [(paths, x.shape) for paths, x in same_shapes(images, 8, np.array)]
    [(['a', 'b'], (2, 4, 6, 3))]
    """
    paths, batch = [], []
    for path, image in images:
        image = np.asarray(image, "float32")[None]
        image = keras.ops.convert_to_numpy(resize(image))
        if batch and (len(batch) == size or batch[0].shape != image.shape):
            yield paths, np.concatenate(batch)
            paths, batch = [], []
        paths.append(path)
        batch.append(image)
    if batch:
        yield paths, np.concatenate(batch)
