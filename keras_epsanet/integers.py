"""Checks of the arguments that are positive integers."""

import numbers


def check_positive(**values):
    """Raises a ValueError unless the arguments are positive integers.

    Args:
        **values: What was given, by the names of the arguments.

    Example:

    >>> check_positive(filters="64")
    Traceback (most recent call last):
    ValueError: `filters` must be a positive integer. Received: filters='64'
    """
    for name, value in values.items():
        if not is_positive(value):
            raise ValueError(
                f"`{name}` must be a positive integer. "
                f"Received: {name}={value!r}"
            )


def check_all_positive(name, values):
    """Raises a ValueError unless an argument is a tuple of such integers.

    Args:
        name: String, name of the argument.
        values: What was given.
    """
    if (
        not isinstance(values, (tuple, list))
        or not values
        or not all(map(is_positive, values))
    ):
        raise ValueError(
            f"`{name}` must be a tuple of positive integers, such as (3, 5). "
            f"Received: {name}={values!r}"
        )


def is_positive(value):
    """Whether a value is a positive integer, of Python or of NumPy."""
    return is_integer(value) and value > 0


def is_integer(value):
    """Whether a value is an integer, of Python or of NumPy, and no boolean."""
    is_number = isinstance(value, numbers.Integral)
    return is_number and not isinstance(value, bool)
