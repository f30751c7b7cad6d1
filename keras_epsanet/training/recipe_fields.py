"""The kinds of values that a recipe's fields take: one check for each.

The same check serves `Recipe(…)`, the JSON of a run and the command line.
"""

import argparse
import dataclasses
import json
import math
import numbers
from collections.abc import Callable
from typing import NamedTuple


class Kind(NamedTuple):
    """What a field may hold.

    Attributes:
        expected: String, what is allowed, for messages.
        test: Function of a value that returns whether it is allowed.
        read: Function of the text of a command line that returns the value,
            or raises `ValueError`; `None` for a switch, which has no text.
    """

    expected: str
    test: Callable
    read: Callable | None


def field(default, kind):
    """Declares a field of a recipe.

    Args:
        default: The default, as `dataclasses.field` takes it.
        kind: `Kind` of the values.

    Returns:
        A field for the body of a `dataclasses.dataclass`.
    """
    return dataclasses.field(default=default, metadata={"kind": kind})


def check(name, kind, value):
    """Checks the value of a field.

    Args:
        name: String, name of the field.
        kind: `Kind` of the field.
        value: The value.

    Returns:
        The value as it comes back from JSON: numbers of NumPy become
        Python's, lists become tuples.

    Raises:
        ValueError: If the value is not allowed.
    """
    value = _plain(value)
    if not kind.test(value):
        raise _error(name, kind, value)
    return value


def _error(name, kind, value):
    return ValueError(
        f"`{name}` must be {kind.expected}. Received: {name}={value}"
    )


def reader(name, kind):
    """Makes the `type` of an argument of `argparse`.

    Args:
        name: String, name of the field.
        kind: `Kind` of the field.

    Returns:
        Function of a text that returns a value that is allowed.
    """

    def read(text):
        try:
            value = kind.read(text)
        except ValueError as error:
            message = _error(name, kind, text)
            raise argparse.ArgumentTypeError(message) from error
        try:
            return check(name, kind, value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(error) from error

    return read


def _plain(value):
    if isinstance(value, (list, tuple)):
        return tuple(map(_plain, value))
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, numbers.Number) and not isinstance(value, bool):
        is_integer = isinstance(value, numbers.Integral)
        return int(value) if is_integer else float(value)
    return value


def read_number(text):
    """Reads `"30"` as an integer and `"0.5"` as a float."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def _read_numbers(text):
    if "," in text:
        return tuple(map(read_number, text.split(",")))
    return read_number(text)


def _is_integer(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value):
    return _is_integer(value) or (
        isinstance(value, float) and math.isfinite(value)
    )


def _is_positive(value):
    return _is_number(value) and value > 0


def _are_rising(value):
    if not isinstance(value, tuple):
        return _is_positive(value)
    return (
        bool(value)
        and all(map(_is_positive, value))
        and all(a < b for a, b in zip(value, value[1:]))
    )


SWITCH = Kind("True or False", lambda x: isinstance(x, bool), None)
POSITIVE_INTEGER = Kind(
    "a positive integer", lambda x: _is_integer(x) and x > 0, int
)
NATURAL = Kind("an integer from 0", lambda x: _is_integer(x) and x >= 0, int)
SEED = Kind(
    "an integer from 0 to 2**31 - 1",
    lambda x: _is_integer(x) and 0 <= x < 2**31,
    int,
)
POSITIVE = Kind("a positive number", _is_positive, read_number)
NOT_NEGATIVE = Kind(
    "a number from 0", lambda x: _is_number(x) and x >= 0, read_number
)
FRACTION = Kind(
    "a number from 0 to below 1",
    lambda x: _is_number(x) and 0 <= x < 1,
    read_number,
)
EPOCHS = Kind(
    "a positive number or a tuple of rising ones", _are_rising, _read_numbers
)
NAME = Kind("a name", lambda x: isinstance(x, str) and bool(x), str)


def one_of(*names):
    """Kind of the strings that are one of `names`."""
    return Kind(
        f"one of {', '.join(names)}",
        lambda x: isinstance(x, str) and x in names,
        str,
    )


def optional(kind):
    """Kind of the values of another kind and `None`, `"none"` as text."""
    return Kind(
        f"{kind.expected} or None",
        lambda x: x is None or kind.test(x),
        lambda text: None if text.lower() == "none" else kind.read(text),
    )


def _are_augmentations(value):
    # The pipeline of the data knows what it can do.
    from keras_epsanet.data.imagenet.augmentation import Augmentations

    if not isinstance(value, (tuple, dict)):
        return False
    Augmentations(value)  # Raises what is wrong with it.
    return True


def _read_augmentations(text):
    if text.lstrip().startswith(("[", "{")):
        return json.loads(text)
    return tuple(name.strip() for name in text.split(","))


AUGMENTATIONS = Kind(
    "names among rand_augment, random_erasing, mix_up and cut_mix, or a "
    "dictionary from them to arguments",
    _are_augmentations,
    _read_augmentations,
)
