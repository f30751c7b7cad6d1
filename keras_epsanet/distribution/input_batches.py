"""Batches of a model's inputs, from whatever `fit` takes."""

import itertools

import keras
import numpy as np

from keras_epsanet.integers import check_positive


def count_batches(dataset, steps=None, batch_size=32):
    """Returns how many batches `input_batches` gives, `None` if not known.

    Args:
        dataset, steps, batch_size: As for `input_batches`.

    Raises:
        ValueError: If `steps` or `batch_size` is not a positive integer, the
            arrays have different lengths, or the dataset is endless and
            there are no `steps`.
    """
    if steps is not None:
        check_positive(steps=steps)
    check_positive(batch_size=batch_size)
    number = _number(dataset, batch_size)
    if number is not None and number < 0:  # TensorFlow: endless, not known.
        if number == -1 and steps is None:
            raise ValueError(
                "`dataset` never ends: give the number of batches, `steps`. "
                f"Received: dataset={dataset}"
            )
        return steps if number == -1 else None
    return number if None in (number, steps) else min(number, steps)


def input_batches(dataset, steps=None, batch_size=32):
    """Yields batches of the inputs of a model.

    Args:
        dataset: A tensor or NumPy array of all images; a tuple
            `(x, y)` or dictionary of them; or what gives batches: a
            `tf.data.Dataset`, a `keras.utils.PyDataset`, a PyTorch
            `DataLoader`, a generator or another iterable. A batch is `x`,
            `(x, y)` or `(x, y, sample_weight)`; `x` may be a structure.
        steps: Optional integer, the most batches that are taken. No further
            one is asked for.
        batch_size: Integer, images in a batch of what is not batched yet.

    Yields:
        Pairs of the number of images of a batch and `x`, in tensors of the
        backend. Empty batches are left out.

    Example:

    >>> batches = input_batches(np.ones((5, 2)), batch_size=3)
    >>> [(size, tuple(x.shape)) for size, x in batches]
    [(3, (3, 2)), (2, (2, 2))]
    """
    for batch in itertools.islice(batches(dataset, batch_size), steps):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
        x = keras.tree.map_structure(_tensor, x)
        size = keras.tree.flatten(x)[0].shape[0]
        if size:
            yield size, x


def _holds_arrays(dataset):
    """Whether these are all images, and not what gives batches of them."""
    return isinstance(dataset, (np.ndarray, tuple, dict)) or (
        keras.ops.is_tensor(dataset)
    )


def _arrays(dataset):
    if isinstance(dataset, tuple):
        dataset, *_ = keras.utils.unpack_x_y_sample_weight(dataset)
    lengths = {len(array) for array in keras.tree.flatten(dataset)}
    if len(lengths) != 1:
        raise ValueError(
            "All inputs must have the same number of images. "
            f"Received: {sorted(lengths)} images"
        )
    return dataset, lengths.pop()


def _number(dataset, batch_size):
    if _holds_arrays(dataset):
        _, length = _arrays(dataset)
        return -(-length // batch_size)
    if isinstance(dataset, keras.utils.PyDataset):
        number = dataset.num_batches
        return -1 if number is None else number
    if hasattr(dataset, "cardinality"):
        return int(dataset.cardinality())
    try:
        return len(dataset)
    except TypeError:  # A generator, or what reads from one.
        return None


def batches(dataset, batch_size):
    """Yields the batches of a dataset as they are, arrays in batches.

    Args:
        dataset, batch_size: As for `input_batches`.

    Yields:
        Batches; of arrays a tuple of one, the inputs.
    """
    if _holds_arrays(dataset):
        arrays, length = _arrays(dataset)
        for start in range(0, length, batch_size):
            batch = keras.tree.map_structure(
                lambda array, start=start: array[start : start + batch_size],
                arrays,
            )
            yield (batch,)  # Without a tuple a list would be `(x, y)`.
    elif isinstance(dataset, keras.utils.PyDataset):
        numbers = itertools.count()
        if dataset.num_batches is not None:
            numbers = range(dataset.num_batches)
        for number in numbers:
            yield dataset[number]
    elif hasattr(dataset, "__iter__"):
        yield from dataset
    else:
        raise ValueError(
            "`dataset` must be an array, a tuple or dictionary of arrays, a "
            "`tf.data.Dataset`, a `keras.utils.PyDataset` or an iterable of "
            f"batches. Received: dataset={dataset}"
        )


def _tensor(x):
    if not keras.ops.is_tensor(x):
        x = np.asarray(x)  # Another framework's, too.
        if x.dtype == "float64":
            x = x.astype(keras.config.floatx())  # As `fit` has it.
    return keras.ops.convert_to_tensor(x)
