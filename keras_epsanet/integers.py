"""Arguments that are positive integers, as Python's own.

NumPy's are taken too. Keras asks for an `int` in many places, and JSON knows
no others, so what is kept is what these functions return.
"""

import numbers


def check_positive(**values):
    """Raises a ValueError unless the arguments are positive integers.

    Args:
        **values: What was given, by the names of the arguments.

    Returns:
        The integer, of Python; of several arguments a tuple of them.

    Example:

    >>> check_positive(filters=64, groups=4)
    (64, 4)
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
    integers = tuple(map(int, values.values()))
    return integers[0] if len(integers) == 1 else integers


def check_all_positive(name, values):
    """Raises a ValueError unless an argument is a tuple of such integers.

    Args:
        name: String, name of the argument.
        values: What was given.

    Returns:
        Tuple of Python's integers.
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
    return tuple(map(int, values))


def python_integers(value):
    """Returns an argument with Python's integers in the place of NumPy's.

    Args:
        value: What was given, such as one size or a pair of them. Whether it
            is allowed is left to whoever takes it.

    Example:

    >>> import numpy as np
    >>> python_integers((np.int64(3), 5)), python_integers("same")
    ((3, 5), 'same')
    """
    if isinstance(value, (tuple, list)):
        kind = list if isinstance(value, list) else tuple
        return kind(map(python_integers, value))
    return int(value) if is_integer(value) else value


def is_positive(value):
    """Whether a value is a positive integer, of Python or of NumPy."""
    return is_integer(value) and value > 0


def is_integer(value):
    """Whether a value is an integer, of Python or of NumPy, and no boolean."""
    is_number = isinstance(value, numbers.Integral)
    return is_number and not isinstance(value, bool)
