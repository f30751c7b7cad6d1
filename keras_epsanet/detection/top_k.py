"""The largest of as many values as there are."""

from keras import ops


def top_k(values, number):
    """Returns the largest values, or all if there are less, in falling order.

    Args:
        values: Tensor `(N, size)`.
        number: Integer.

    Returns:
        Values and their int32 indices, `(N, min(number, size))`.

    Example:

    >>> values, indices = top_k(ops.array([[3.0, 5.0]]), 7)
    >>> [int(i) for i in indices[0]]
    [1, 0]
    """
    size = ops.shape(values)[1]
    if isinstance(size, int):
        number = min(number, size)
    else:
        number = ops.minimum(number, size)
    values, indices = ops.top_k(values, number)
    return values, ops.cast(indices, "int32")
