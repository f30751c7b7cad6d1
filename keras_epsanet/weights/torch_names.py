"""Weights from and to the names and layouts of the PyTorch implementation.

The published code, https://github.com/murufeng/EPSANet, concatenates the
scales of PSA in reverse; here they stand in the order of the paper. What
follows PSA, the batch normalization and the input channels of the next
convolution, is therefore turned round, scale by scale.
"""

import collections
import collections.abc
from typing import NamedTuple

import numpy as np

from keras_epsanet.atomic import whole
from keras_epsanet.weights.layer_names import BLOCK, network_layers
from keras_epsanet.weights.torch_files import (
    check_ending,
    import_for_files,
    read_checkpoint,
    to_arrays,
    to_numpy,
)

_IN_BLOCK = {
    "0_conv": "downsample.0",
    "0_bn": "downsample.1",
    "1_conv": "conv1",
    "1_bn": "bn1",
    "psa": "conv2",
    "2_bn": "bn2",
    "3_conv": "conv3",
    "3_bn": "bn3",
}
_OUTSIDE = {"conv1_conv": "conv1", "conv1_bn": "bn1", "predictions": "fc"}
_COUNTER = "num_batches_tracked"


def load_torch_weights(model, path_or_state_dict):
    """Loads the weights of the PyTorch implementation into a model.

    Args:
        model: An EPSANet or `EPSANetBackbone`, whatever the prefix of its
            layers. One without classifier ignores the entries `fc.*`.
            Layers that are not of the network, such as a `Rescaling` in
            front of it, are left alone.
        path_or_state_dict: Path of a `.pth`, `.pt`, `.pth.tar` or
            `.safetensors` file, or a dictionary of tensors or arrays: a
            state dict, or the dictionary that a training script saves,
            with or without the prefix `module.`. If it has an averaged model
            (`"state_dict_ema"`, `"model_ema"`), that one is loaded.
            `num_batches_tracked` is ignored.

    Raises:
        ValueError: If the file cannot be read or holds anything but data,
            or if an entry is missing, unexpected or of another shape. The
            model is left as it was.
        ImportError: If PyTorch or safetensors is needed and not installed.

    Example:

    >>> from keras_epsanet import EPSANet50Small
    >>> source = EPSANet50Small(input_shape=(32, 32, 3), classes=10)
    >>> save_torch_weights(source, "epsanet50.safetensors")
    >>> model = EPSANet50Small(input_shape=(32, 32, 3), classes=10)
    >>> load_torch_weights(model, "epsanet50.safetensors")
    """
    if isinstance(path_or_state_dict, collections.abc.Mapping):
        state = to_arrays(path_or_state_dict, "the state dict")
    else:
        state = read_checkpoint(path_or_state_dict)
    assign_state_dict(model, state)


def save_torch_weights(model, path):
    """Writes the weights of a model for the PyTorch implementation.

    Args:
        model: An EPSANet or `EPSANetBackbone`, whatever the prefix of its
            layers.
        path: Path of the file. `.safetensors` writes that format, `.pth`,
            `.pt` and `.pth.tar` a state dict by `torch.save`.

    Raises:
        ValueError: If the ending is unknown or the model has weights that
            the PyTorch implementation has no name for.
        ImportError: If PyTorch or safetensors is needed and not installed.
    """
    path = check_ending(path)
    entries = network_entries(model)
    known = {id(entry.variable) for entry in entries}
    unknown = [w.path for w in model.weights if id(w) not in known]
    if unknown:
        raise ValueError(
            "The PyTorch implementation has no names for these weights of "
            f"the model: {', '.join(unknown)}"
        )
    state = {}
    for entry in entries:
        state[entry.key] = entry.to_torch()
        if entry.key.endswith(".running_var"):
            counter = entry.key.replace("running_var", _COUNTER)
            state[counter] = np.array(0, "int64")
    if path.endswith(".safetensors"):
        write = import_for_files("safetensors.numpy", "safetensors").save_file
    else:
        torch = import_for_files("torch", "torch")

        def write(state, name):
            tensors = {key: torch.from_numpy(a) for key, a in state.items()}
            torch.save(collections.OrderedDict(tensors), name)

    with whole(path) as temporary:
        write(state, temporary)


def assign_state_dict(model, state, skip_classifier=False):
    """Assigns a state dict of NumPy arrays to a model, all or nothing.

    Args:
        model: An EPSANet or `EPSANetBackbone`.
        state: Dictionary from the PyTorch names to arrays.
        skip_classifier: Whether the classifier keeps its weights.

    Raises:
        ValueError: If an entry is missing, unexpected or of another shape.
    """
    entries = network_entries(model)
    if skip_classifier:
        entries = [e for e in entries if not e.key.startswith("fc.")]
    has_classifier = any(e.key.startswith("fc.") for e in entries)
    state = {
        key: array
        for key, array in state.items()
        if has_classifier or not key.startswith("fc.")
    }
    assign_entries(entries, state)


def assign_entries(entries, state):
    """Assigns arrays to the variables of the same names, all or nothing.

    Args:
        entries: List of `Entry`.
        state: Dictionary from the PyTorch names to arrays.
            `num_batches_tracked` is ignored.

    Raises:
        ValueError: If a name is missing, unexpected or of another shape.
    """
    state = {k: v for k, v in state.items() if not k.endswith(_COUNTER)}
    wanted = {entry.key: entry.torch_shape for entry in entries}
    problems = {
        "missing": [key for key in wanted if key not in state],
        "unexpected": [key for key in state if key not in wanted],
        "of another shape": [
            f"{key} (received {state[key].shape}, expected {shape})"
            for key, shape in wanted.items()
            if key in state and state[key].shape != shape
        ],
    }
    if any(problems.values()):
        lists = [
            f"{kind}: {', '.join(keys)}"
            for kind, keys in problems.items()
            if keys
        ]
        raise ValueError(
            "The weights do not fit the model, which was left as it was. "
            f"Entries {'; '.join(lists)}"
        )
    for entry in entries:
        entry.variable.assign(entry.from_torch(state[entry.key]))


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

    @property
    def torch_shape(self):
        shape = tuple(self.variable.shape[axis] for axis in self.axes)
        return shape + (1, 1) if self.squeezed else shape

    def to_torch(self):
        array = to_numpy(self.variable.numpy()).transpose(self.axes)
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


def network_entries(model):
    """Lists the variables of a model that the implementation has as well.

    Args:
        model: An EPSANet or `EPSANetBackbone`.

    Returns:
        List of `Entry`.

    Raises:
        ValueError: If the stem is several convolutions.
    """
    layers = network_layers(model)
    for name in layers:
        if name not in _OUTSIDE and not BLOCK.fullmatch(name):
            raise ValueError(
                "The PyTorch implementation has a stem of one convolution. "
                f"Received: a model with the layer {name}"
            )
    entries = []
    for name, layer in layers.items():
        if name in _OUTSIDE:
            prefix, scales = _OUTSIDE[name], 1
        else:
            stage, block, part = BLOCK.fullmatch(name).groups()
            inner = _IN_BLOCK[part]
            prefix = f"layer{int(stage) - 1}.{int(block) - 1}.{inner}"
            psa = layers[f"conv{stage}_block{block}_psa"]
            after_psa = inner in ("bn2", "conv3")
            scales = len(psa.kernel_sizes) if after_psa else 1
        entries.extend(_layer_entries(prefix, layer, scales))
    return entries


def _layer_entries(prefix, layer, scales):
    if prefix.endswith("conv2"):
        for i, convolution in enumerate(layer.spc.convolutions, start=1):
            key = f"{prefix}.conv_{i}.weight"
            yield Entry(key, convolution.kernel, (3, 2, 0, 1))
        for name, dense in (("fc1", layer.se.fc1), ("fc2", layer.se.fc2)):
            key = f"{prefix}.se.{name}"
            yield Entry(f"{key}.weight", dense.kernel, (1, 0), squeezed=True)
            yield Entry(f"{key}.bias", dense.bias, (0,))
    elif prefix == "fc":
        yield Entry("fc.weight", layer.kernel, (1, 0))
        yield Entry("fc.bias", layer.bias, (0,))
    elif hasattr(layer, "gamma"):
        for name, variable in (
            ("weight", layer.gamma),
            ("bias", layer.beta),
            ("running_mean", layer.moving_mean),
            ("running_var", layer.moving_variance),
        ):
            yield Entry(f"{prefix}.{name}", variable, (0,), scales=scales)
    else:
        yield Entry(
            f"{prefix}.weight",
            layer.kernel,
            (3, 2, 0, 1),
            scales=scales,
            scale_axis=1,
        )
