"""What a classifier says of each class before a softmax makes it a share."""

import contextlib
import numbers

import keras
import numpy as np

from keras_epsanet.explain.replaced import replaced
from keras_epsanet.graph.visit import is_functional
from keras_epsanet.layers import ClassNames

_SHARES = (keras.activations.softmax, keras.activations.sigmoid)


def check_scores(model):
    """Raises unless a model returns a number for each class.

    Args:
        model: Functional or built `Sequential` `keras.Model`.

    Returns:
        Integer, the number of classes.

    Raises:
        ValueError: If it returns something else.
    """
    if not has_scores(model):
        raise ValueError(
            "`model` must be a detector of keras_epsanet or return a score "
            "for each class, (N, classes). "
            f"Received: a model of the output shape {model.output_shape}"
        )
    return model.outputs[0].shape[1]


def has_scores(model):
    """Whether a model returns `(N, classes)` and nothing else.

    Args:
        model: Functional or built `Sequential` `keras.Model`.

    Example:

    >>> has_scores(keras.Sequential([keras.Input((3,)), keras.layers.ReLU()]))
    True
    """
    shape = model.outputs[0].shape
    return len(model.outputs) == 1 and len(shape) == 2 and shape[1] is not None


@contextlib.contextmanager
def before_softmax(model):
    """Lets a model return the scores that its softmax or sigmoid is of.

    The share of a class falls where another one rises; the score before does
    not. A model without either stays as it is.

    Args:
        model: Functional or built `Sequential` `keras.Model` that returns
            `(N, classes)`.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Softmax()])
    >>> with before_softmax(model):
    ...     scores = model(np.array([[3.0, 1.0]]))
    >>> [float(x) for x in scores[0]]
    [3.0, 1.0]
    """
    with contextlib.ExitStack() as stack:
        for layer in _last_layers(model.outputs[0]):
            if isinstance(layer, keras.layers.Softmax):
                stack.enter_context(replaced(layer, "call", _pass))
            elif getattr(layer, "activation", None) in _SHARES:
                linear = keras.activations.linear
                stack.enter_context(replaced(layer, "activation", linear))
        yield


def _pass(inputs, **kwargs):
    return inputs


def _last_layers(tensor):
    """Yields the layers behind the scores, then the one that makes them."""
    while True:
        layer, node, index = tensor._keras_history
        if is_functional(layer):
            tensor = layer.outputs[index]
            continue
        yield layer
        is_share = isinstance(layer, (ClassNames, keras.layers.Softmax))
        if isinstance(layer, keras.layers.Activation):
            is_share = layer.activation in (*_SHARES, keras.activations.linear)
        if not is_share:
            return
        tensor = layer._inbound_nodes[node].input_tensors[0]


def check_classes(model, classes, images):
    """Returns the class that is asked for of each image.

    Args:
        model: Functional or built `Sequential` `keras.Model` that returns
            `(N, classes)`.
        classes: Integer or name, one for all images or a list of one for
            each; names are those of the model's `ClassNames`. `None` is the
            class of the highest score.
        images: Integer, the number of images.

    Returns:
        Int64 array `(images,)`, or `None`.

    Raises:
        ValueError: If a class does not exist or there are more or fewer than
            images.

    Example:

    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.ReLU()])
    >>> check_classes(model, 2, images=2).tolist()
    [2, 2]
    """
    number = check_scores(model)
    if classes is None:
        return None
    is_list = isinstance(classes, (list, tuple, np.ndarray))
    given = list(classes) if is_list else [classes] * images
    if len(given) != images:
        raise ValueError(
            f"`classes` must be one class or one for each of the {images} "
            f"images. Received: classes={classes}"
        )
    names = [x.names for x in model.layers if isinstance(x, ClassNames)]
    return np.array(
        [_number_of(x, names[0] if names else (), number) for x in given],
        "int64",
    )


def _number_of(value, names, number):
    if isinstance(value, str) and value in names:
        return names.index(value)
    is_number = isinstance(value, numbers.Integral)
    if isinstance(value, bool) or not is_number or not 0 <= value < number:
        known = f", or any of {', '.join(names)}" if names else ""
        raise ValueError(
            f"A class must be an integer from 0 to {number - 1}{known}. "
            f"Received: classes={value!r}"
        )
    return int(value)
