"""What may be changed of a detector that has trained or predicted already."""

import operator

import keras
import numpy as np


class Setting:
    """Attribute of a model whose changes reach functions traced before.

    Keras traces the steps of `fit`, `evaluate` and `predict` once. They would
    keep the value that the attribute had then.

    Args:
        check: Function from the name of the attribute and a value to the
            value that is kept.
    """

    def __init__(self, check):
        self._check = check

    def __set_name__(self, owner, name):
        self._name = name

    def __get__(self, model, owner=None):
        return self if model is None else getattr(model, f"_{self._name}")

    def __set__(self, model, value):
        setattr(model, f"_{self._name}", self._check(self._name, value))
        for step in ("train", "test", "predict"):
            # Not dropped but made anew, for `fit` may be running.
            if getattr(model, f"{step}_function", None) is not None:
                getattr(model, f"make_{step}_function")(force=True)


def integer_from(least):
    """Returns a check that makes an integer of integers of any kind."""

    def check(name, value):
        try:
            number = None if isinstance(value, bool) else operator.index(value)
        except TypeError:
            number = None
        if number is None or number < least:
            raise ValueError(
                f"`{name}` must be an integer from {least} up. "
                f"Received: {name}={value}"
            )
        return number

    return check


def share(name, value):
    """Checks a number from 0 to 1."""
    if not 0 <= value <= 1:
        raise ValueError(
            f"`{name}` must be a number from 0 to 1. Received: {name}={value}"
        )
    return float(value)


def from_zero(name, value):
    """Checks a finite number from 0 up."""
    if not 0 <= value < float("inf"):
        raise ValueError(
            f"`{name}` must be a number from 0 up. Received: {name}={value}"
        )
    return float(value)


def positive_numbers(name, value):
    """Checks finite numbers above 0, one at least."""
    try:
        numbers = tuple(map(float, value))
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or not all(0 < x < float("inf") for x in numbers):
        raise ValueError(
            f"`{name}` must be numbers above 0. Received: {name}={value}"
        )
    return numbers


def two_sides(name, value):
    """Checks a shorter and a longer side, as of `keras_epsanet.data.coco`."""
    check = integer_from(1)
    try:
        shorter, longer = (check(name, side) for side in value)
        if shorter <= longer:
            return shorter, longer
    except (TypeError, ValueError):
        pass
    raise ValueError(
        f"`{name}` must be two integers from 1 up, the shorter side and the "
        f"longer. Received: {name}={value}"
    )


def check_class_names(names, num_classes):
    """Checks the names of all classes, which may be unknown."""
    if names is None:
        return None
    if (
        isinstance(names, str)
        or len(names) != num_classes
        or not all(isinstance(name, str) for name in names)
        or len(set(names)) < len(names)
    ):
        raise ValueError(
            f"`class_names` must be {num_classes} different strings, one for "
            f"each class. Received: class_names={names}"
        )
    return tuple(names)


def box_format(name, value):
    """Checks the name of a format of `keras.utils.bounding_boxes`."""
    try:
        keras.utils.bounding_boxes.convert_format(
            np.zeros((1, 4), "float32"), value, "xyxy", height=1, width=1
        )
    except ValueError as error:
        raise ValueError(f"{error}. Received: {name}={value}") from None
    return value
