"""The trained models that commands take: a file, or the run of a training."""

import os

import keras

from keras_epsanet import storage
from keras_epsanet.classification.inference import find_class_names
from keras_epsanet.detection.detector import Detector
from keras_epsanet.detection.from_recipe import load_detector
from keras_epsanet.detection.trained_detectors import name_classes
from keras_epsanet.training.recipe_file import (
    CLASSIFIERS,
    Trained,
    check_trained,
    trained_in,
)

NAME = "model.keras"


def model_file(path):
    """Returns the path of a model: of a run's folder that of its model.

    Args:
        path: Path of a file, or of the folder of a training.

    Returns:
        Path of a file. It need not exist if `path` is no folder.

    Raises:
        ValueError: If the folder has no model.
    """
    if not storage.isdir(path):
        return path
    file = os.path.join(path, NAME)
    if not storage.isfile(file):
        raise ValueError(
            "a folder must be that of a training that has ended. "
            f"Received: one without {NAME}"
        )
    return file


def load_classifier(path):
    """Loads a trained classifier.

    Args:
        path: Path of its file, or of the folder of its training.

    Returns:
        `keras.Model` that knows the names of its classes.

    Raises:
        OSError, ValueError: If it cannot be loaded, or is none.
    """
    if storage.isdir(path):
        check_trained(path, *CLASSIFIERS)
    model = keras.saving.load_model(model_file(path), compile=False)
    if isinstance(model, Detector):
        raise ValueError(
            "the model must be a classifier; `keras-epsanet detect --weights` "
            "takes detectors. Received: a detector"
        )
    find_class_names(model)
    return model


def load_classifier_or_detector(path):
    """Loads a trained model of either kind.

    Args:
        path: Path of its file, or of the folder of its training.

    Returns:
        `keras.Model` that knows the names of its classes: a detector of this
        package or a classifier.

    Raises:
        OSError, ValueError: If it cannot be loaded, or is neither.
    """
    file = model_file(path)
    if file != path and trained_in(path) is Trained.DETECTOR:
        return load_detector(path)
    model = keras.saving.load_model(file, compile=False)
    if isinstance(model, Detector):
        name_classes(model)
    else:
        find_class_names(model)
    return model
