"""A saved classifier's predictions for images that have labels."""

import functools
import os

import numpy as np

from keras_epsanet import data, distribution, storage
from keras_epsanet.classification import inference
from keras_epsanet.classification.results import Results


def open_images(path=None):
    """Opens the images to evaluate with.

    Args:
        path: Folder with a sub-folder for each class, or with such folders
            `train` and `val` or `test`, of which `val` or `test` is taken;
            `None` for the embedded test images.

    Returns:
        Dataset as the functions of `keras_epsanet.data` return it.

    Raises:
        ValueError: As of `keras_epsanet.data.image_folder`.

    Example:

    >>> open_images().num_images
    2000
    """
    if path is None:
        return data.fashion_mnist("test")
    for name in ("val", "test"):
        part = os.path.join(path, name)
        if storage.isdir(part) and storage.isdir(os.path.join(path, "train")):
            return data.image_folder(part)
    return data.image_folder(path)


def check_embedded(names, option):
    """Raises if the embedded test images are not of a model's classes.

    Args:
        names: Sequence of strings, the classes of the model.
        option: String, what gives other images.

    Raises:
        ValueError: If it lacks one of theirs.

    Example:

    >>> check_embedded(open_images().class_names, "--data")
    """
    if not set(data.fashion_mnist("test").class_names) <= set(names):
        some = ", ".join(names[:5]) + ", …" * (len(names) > 5)
        raise ValueError(
            f"This model needs {option}: without it the images of "
            "Fashion-MNIST are taken, whose classes it does not have. "
            f"Received: a model of {some}"
        )


def match_classes(class_names, names):
    """The model's number of every class of the images, by its name.

    Args:
        class_names: List of strings, the classes of the images.
        names: Sequence of strings, the classes of the model.

    Returns:
        Integer array, as long as `class_names`.

    Raises:
        ValueError: If the model lacks a class.

    Example:

    >>> match_classes(["cat", "dog"], ["cow", "dog", "cat"]).tolist()
    [2, 1]
    """
    unknown = sorted(set(class_names) - set(names))
    if unknown:
        raise ValueError(
            f"The model's classes are {', '.join(names)}. "
            f"Received: images of {', '.join(unknown)}"
        )
    return np.array([names.index(name) for name in class_names])


def evaluate(model, images, batch_size, strategy):
    """Predicts every image, whatever its size.

    Args:
        model: Classifier with a layer `ClassNames`, built in the scope of
            `strategy`.
        images: What `open_images` returned.
        batch_size: Integer, images in a batch at most.
        strategy: What `keras_epsanet.distribution.make_strategy` returned.

    Returns:
        `Results`.

    Raises:
        ValueError: If the model lacks a class of the images, or there is no
            image that can be decoded.
    """
    names = inference.find_class_names(model).names
    labels = []

    def batches():
        for numbers, batch in labeled_batches(model, images, batch_size):
            labels.extend(numbers)
            yield batch

    probabilities = distribution.predict(model, batches(), strategy)
    return Results(names, labels, probabilities)


def labeled_batches(model, images, batch_size):
    """Yields images as a model takes them, with the model's classes.

    Args:
        model: Classifier with a layer `ClassNames`.
        images: What `open_images` returned.
        batch_size: Integer, images in a batch at most.

    Yields:
        Pairs of a list of integers and a float32 array `(N, H, W, 3)`.

    Raises:
        ValueError: If the model lacks a class of the images.
    """
    import tensorflow as tf

    names = inference.find_class_names(model).names
    places = match_classes(images.class_names, names)
    resize = inference.resizing(model)
    if None not in model.input_shape[1:3]:
        resize = functools.partial(tf.image.resize, size=model.input_shape[1:3])

    def pairs():
        for image, label in images.prefetch(tf.data.AUTOTUNE):
            if image.shape[-1] == 1:
                image = tf.image.grayscale_to_rgb(image)
            yield places[label], image

    yield from inference.same_shapes(pairs(), batch_size, resize)
