"""Variables under their PyTorch names, and how the layouts differ."""

from typing import NamedTuple

import keras
import numpy as np

from keras_epsanet.weights.torch_files import to_numpy

COUNTER = "num_batches_tracked"
# Names in a message, which could be hundreds.
_MOST_NAMED = 4


def assign_entries(entries, state):
    """Assigns arrays to the variables of the same names, all or nothing.

    Args:
        entries: List of `Entry` and `Constant`.
        state: Dictionary from the PyTorch names to arrays.
            `num_batches_tracked` is ignored.

    Raises:
        ValueError: If a name is missing, unexpected or of another shape, or
            a constant has other values.
    """
    state = {k: v for k, v in state.items() if not k.endswith(COUNTER)}
    wanted = {entry.key: entry.torch_shape for entry in entries}
    problems = {
        "missing": [key for key in wanted if key not in state],
        "unexpected": [key for key in state if key not in wanted],
        "of another shape": [
            f"{key} (received {state[key].shape}, expected {shape})"
            for key, shape in wanted.items()
            if key in state and state[key].shape != shape
        ],
        "of other values": [
            entry.key
            for entry in entries
            if entry.variable is None and entry.differs_from(state)
        ],
    }
    if any(problems.values()):
        lists = [
            f"{kind}: {first_few(keys, ', ')}"
            for kind, keys in problems.items()
            if keys
        ]
        raise ValueError(
            "The weights do not fit the model, which was left as it was. "
            f"Entries {'; '.join(lists)}"
        )
    for entry in entries:
        if entry.variable is not None:
            entry.variable.assign(entry.from_torch(state[entry.key]))


def first_few(names, separator):
    """Joins the first names, and says how many more there are.

    Args:
        names: List of strings.
        separator: String between two.

    Returns:
        String.

    Example:

    >>> first_few(list("abc"), "; "), first_few(list("abcdef"), ", ")
    ('a; b; c', 'a, b, c, d … and 2 more')
    """
    text = separator.join(names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return f"{text} … and {more:,} more" if more > 0 else text


class Entry(NamedTuple):
    """A variable, its PyTorch name, and how their layouts differ."""

    key: str
    variable: object
    axes: tuple  # Axes of the Keras array in the order of PyTorch.
    squeezed: bool = False  # PyTorch has a 1×1 convolution, Keras a matrix.
    scales: int = 1  # Scales whose order is reversed ...
    scale_axis: int = 0  # ... along this axis of the PyTorch array.
    # Height and width of a map whose pixels are the inputs of a matrix:
    # PyTorch has the channel first, Keras last.
    window: tuple | None = None
    # Shape of PyTorch's array, where it has other axes of length 1; -1 is
    # the length of the vector.
    shape: tuple | None = None

    @property
    def torch_shape(self):
        if self.shape:
            (length,) = self.variable.shape
            return tuple(length if n == -1 else n for n in self.shape)
        shape = tuple(self.variable.shape[axis] for axis in self.axes)
        return shape + (1, 1) if self.squeezed else shape

    def to_torch(self):
        return self.arrange(to_numpy(self.variable.numpy()))

    def arrange(self, array):
        """Returns an array of the variable's layout in that of PyTorch."""
        array = array.transpose(self.axes)
        if self.window:
            array = array.reshape(len(array), *self.window, -1)
            array = array.transpose(0, 3, 1, 2)
        array = self._reverse_scales(array.reshape(self.torch_shape))
        return np.ascontiguousarray(array)

    def from_torch(self, array):
        shape = tuple(self.variable.shape[axis] for axis in self.axes)
        if self.window:
            array = array.reshape(len(array), -1, *self.window)
            array = array.transpose(0, 2, 3, 1)
        array = self._reverse_scales(array.reshape(shape))
        return array.transpose(np.argsort(self.axes))

    def _reverse_scales(self, array):
        if self.scales == 1:
            return array
        parts = np.split(array, self.scales, axis=self.scale_axis)
        return np.concatenate(parts[::-1], axis=self.scale_axis)


class Constant(NamedTuple):
    """An entry that no variable holds, for a layer computes it."""

    key: str
    array: np.ndarray  # In PyTorch's layout.
    variable = None

    @property
    def torch_shape(self):
        return self.array.shape

    def to_torch(self):
        return np.ascontiguousarray(self.array)

    def differs_from(self, state):
        """Whether an array of the same name and shape has other values."""
        found = state.get(self.key)
        if found is None or found.shape != self.torch_shape:
            return False
        return not np.allclose(found, self.array, rtol=0, atol=1e-5)


def layer_entries(key, layer, pointwise=False, scales=1, shape=None):
    """Lists the entries of a layer or a variable.

    Args:
        key: String, the name in PyTorch, without `.weight`.
        layer: Convolution, dense layer, normalization, or a variable, whose
            whole name is `key`.
        pointwise: Whether PyTorch has 1×1 convolutions for dense layers.
        scales: Integer, number of scales of PSA in front of the layer.
        shape: Tuple, shape of all arrays in PyTorch, `None` for the usual
            one.

    Returns:
        List of `Entry`.
    """
    if isinstance(layer, keras.Variable):
        axes = tuple(range(len(layer.shape)))
        return [Entry(key, layer, axes, shape=shape)]
    if hasattr(layer, "gamma"):
        named = {
            "weight": layer.gamma,
            "bias": layer.beta,
            "running_mean": getattr(layer, "moving_mean", None),
            "running_var": getattr(layer, "moving_variance", None),
        }
        return [
            Entry(f"{key}.{name}", variable, (0,), scales=scales, shape=shape)
            for name, variable in named.items()
            if variable is not None
        ]
    axes = tuple(reversed(range(len(layer.kernel.shape))))
    if len(axes) == 4:
        axes = (3, 2, 0, 1)
    kernel = Entry(
        f"{key}.weight",
        layer.kernel,
        axes,
        squeezed=pointwise and len(axes) == 2,
        scales=scales,
        scale_axis=1,
    )
    if layer.bias is None:
        return [kernel]
    return [kernel, Entry(f"{key}.bias", layer.bias, (0,))]
