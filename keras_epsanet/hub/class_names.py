"""The names of the classes beside a preset, which KerasHub has none for."""

import json
import os

from keras_epsanet.atomic import write_file
from keras_epsanet.hub.files import find_file
from keras_epsanet.layers import ClassNames

FILE = "class_names.json"


def class_names_of(model):
    """Returns the names of a model's classes, or `None`.

    Args:
        model: `keras.Model`, which has them in a layer `ClassNames`.
    """
    for layer in model.layers:
        if isinstance(layer, ClassNames):
            return list(layer.names)
    return None


def write_class_names(folder, names):
    """Writes the names of the classes into a folder, `class_names.json`.

    Args:
        folder: Path of the folder, such as that of a preset.
        names: List of strings, in the order of the predictions.

    Example:

    >>> write_class_names(".", ["cat", "dog"])
    >>> read_class_names(".")
    ['cat', 'dog']
    """
    text = json.dumps(names, indent=1, ensure_ascii=False) + "\n"
    write_file(os.path.join(folder, FILE), text)


def read_class_names(source):
    """Reads the names of the classes of a published classifier.

    Args:
        source: Path of a folder, `"hf://USER/NAME"` or
            `"kaggle://USER/MODEL/keras/VARIATION"`.

    Returns:
        List of strings, in the order of the predictions.

    Raises:
        ImportError: If the client of the hub is missing.
        ValueError: If there is no `class_names.json`, or it is none.
    """
    with open(find_file(source, FILE), encoding="utf-8") as file:
        names = json.load(file)
    ClassNames(names)  # Raises if they are not strings.
    return names
