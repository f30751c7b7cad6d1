"""Weights from and to the names and layouts of the PyTorch implementation.

The published code, https://github.com/murufeng/EPSANet, concatenates the
scales of PSA in reverse; here they stand in the order of the paper. What
follows PSA, the batch normalisation and the input channels of the next
convolution, is therefore turned round, scale by scale.
"""

import collections
import collections.abc
import importlib
import os
import pickle
import re
from typing import NamedTuple

import numpy as np

# Endings of the files that are read and written.
ENDINGS = (".pth", ".pt", ".pth.tar", ".safetensors")

_BLOCK = re.compile(r"conv(\d+)_block(\d+)_(0|1|2|3|psa)(?:_(conv|bn))?")
_BLOCK_NAME = re.compile(r"conv\d+_block\d+")
_IN_BLOCK = {
    ("0", "conv"): "downsample.0",
    ("0", "bn"): "downsample.1",
    ("1", "conv"): "conv1",
    ("1", "bn"): "bn1",
    ("psa", None): "conv2",
    ("2", "bn"): "bn2",
    ("3", "conv"): "conv3",
    ("3", "bn"): "bn3",
}
_OUTSIDE = {"conv1_conv": "conv1", "conv1_bn": "bn1", "predictions": "fc"}
_COUNTER = "num_batches_tracked"


def load_torch_weights(model, path_or_state_dict):
    """Loads the weights of the PyTorch implementation into a model.

    Args:
        model: An EPSANet or `EPSANetBackbone`. One without classifier
            ignores the entries `fc.*`. Layers that are not of the network,
            such as a `Rescaling` in front of it, are left alone.
        path_or_state_dict: Path of a `.pth`, `.pt`, `.pth.tar` or
            `.safetensors` file, or a dictionary of tensors or arrays: a
            state dict, or the dictionary that the training script saves,
            with or without the prefix `module.`. `num_batches_tracked` is
            ignored.

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
        state = _arrays(path_or_state_dict, "the state dict")
    else:
        state = read_checkpoint(path_or_state_dict)
    assign_state_dict(model, state)


def save_torch_weights(model, path):
    """Writes the weights of a model for the PyTorch implementation.

    Args:
        model: An EPSANet or `EPSANetBackbone`.
        path: Path of the file. `.safetensors` writes that format, `.pth`,
            `.pt` and `.pth.tar` a state dict by `torch.save`.

    Raises:
        ValueError: If the ending is unknown or the model has weights that
            the PyTorch implementation has no name for.
        ImportError: If PyTorch or safetensors is needed and not installed.
    """
    path = _check_ending(path)
    entries = _entries(model)
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
        write = _import("safetensors.numpy", "safetensors").save_file
    else:
        torch = _import("torch", "torch")

        def write(state, name):
            tensors = {key: torch.from_numpy(a) for key, a in state.items()}
            torch.save(collections.OrderedDict(tensors), name)

    # Under a temporary name first, so that a crash leaves no half a file.
    temporary = f"{path}.tmp"
    try:
        write(state, temporary)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def read_checkpoint(path):
    """Reads a checkpoint of the PyTorch implementation, executing nothing.

    Args:
        path: Path of a `.pth`, `.pt`, `.pth.tar` or `.safetensors` file.

    Returns:
        A dictionary from names, without `module.`, to NumPy arrays.

    Raises:
        ValueError: If there is no such file, or it is damaged or holds
            anything but data.
        ImportError: If PyTorch or safetensors is needed and not installed.
    """
    path = _check_ending(path)
    if not os.path.isfile(path):
        raise ValueError(f"There is no file {path}. Received: path={path}")
    if path.endswith(".safetensors"):
        safetensors = _import("safetensors.numpy", "safetensors")
        try:
            content = safetensors.load_file(path)
        except Exception as error:
            raise ValueError(
                f"{path} is damaged or not a safetensors file: {error}"
            ) from error
    else:
        torch = _import("torch", "torch")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise ValueError(
                f"{path} is damaged, or a pickle that holds more than tensors "
                "and plain values. Such a file can run any code when it is "
                f"read, so it is refused: {error}"
            ) from error
        except Exception as error:
            raise ValueError(
                f"{path} is damaged or not a PyTorch checkpoint: {error}"
            ) from error
    return _arrays(content, path)


def assign_state_dict(model, state, skip_classifier=False):
    """Assigns a state dict of NumPy arrays to a model, all or nothing.

    Args:
        model: An EPSANet or `EPSANetBackbone`.
        state: Dictionary from the PyTorch names to arrays.
        skip_classifier: Whether the classifier keeps its weights.

    Raises:
        ValueError: If an entry is missing, unexpected or of another shape.
    """
    entries = _entries(model)
    if skip_classifier:
        entries = [e for e in entries if not e.key.startswith("fc.")]
    has_classifier = any(e.key.startswith("fc.") for e in entries)
    state = {
        key: array
        for key, array in state.items()
        if not key.endswith(_COUNTER)
        and (has_classifier or not key.startswith("fc."))
    }
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


class _Entry(NamedTuple):
    """A variable, its PyTorch name, and how their layouts differ."""

    key: str
    variable: object
    axes: tuple  # Axes of the Keras array in the order of PyTorch.
    squeezed: bool = False  # PyTorch has a 1×1 convolution, Keras a matrix.
    scales: int = 1  # Scales whose order is reversed ...
    scale_axis: int = 0  # ... along this axis of the PyTorch array.

    @property
    def torch_shape(self):
        shape = tuple(self.variable.shape[axis] for axis in self.axes)
        return shape + (1, 1) if self.squeezed else shape

    def to_torch(self):
        array = _numpy(self.variable.numpy()).transpose(self.axes)
        array = self._reverse_scales(array).reshape(self.torch_shape)
        return np.ascontiguousarray(array)

    def from_torch(self, array):
        shape = tuple(self.variable.shape[axis] for axis in self.axes)
        array = self._reverse_scales(array.reshape(shape))
        return array.transpose(np.argsort(self.axes))

    def _reverse_scales(self, array):
        if self.scales == 1:
            return array
        parts = np.split(array, self.scales, axis=self.scale_axis)
        return np.concatenate(parts[::-1], axis=self.scale_axis)


def _entries(model):
    """Lists the variables of a model that the implementation has as well."""
    layers = {layer.name: layer for layer in model.layers}
    blocks = {m[0] for m in map(_BLOCK_NAME.match, layers) if m}
    if "conv1_conv" not in layers or not all(
        f"{block}_psa" in layers for block in blocks
    ):
        raise ValueError(
            "The model must be an EPSANet or an EPSANetBackbone itself, not "
            "one that contains it as a layer. "
            f"Received: layers {', '.join(list(layers)[:8])}, ..."
        )
    entries = []
    for name, layer in layers.items():
        match = _BLOCK.fullmatch(name)
        if name in _OUTSIDE:
            prefix, scales = _OUTSIDE[name], 1
        elif match and match.groups()[2:] in _IN_BLOCK:
            stage, block, *part = match.groups()
            inner = _IN_BLOCK[tuple(part)]
            prefix = f"layer{int(stage) - 1}.{int(block) - 1}.{inner}"
            psa = layers[f"conv{stage}_block{block}_psa"]
            after_psa = inner in ("bn2", "conv3")
            scales = len(psa.kernel_sizes) if after_psa else 1
        else:
            continue
        entries.extend(_layer_entries(prefix, layer, scales))
    return entries


def is_network_layer(name):
    """Whether a layer of this name belongs to an EPSANet."""
    return name in _OUTSIDE or bool(_BLOCK.fullmatch(name))


def _layer_entries(prefix, layer, scales):
    if prefix.endswith("conv2"):
        for i, convolution in enumerate(layer.spc.convolutions, start=1):
            key = f"{prefix}.conv_{i}.weight"
            yield _Entry(key, convolution.kernel, (3, 2, 0, 1))
        for name, dense in (("fc1", layer.se.fc1), ("fc2", layer.se.fc2)):
            key = f"{prefix}.se.{name}"
            yield _Entry(f"{key}.weight", dense.kernel, (1, 0), squeezed=True)
            yield _Entry(f"{key}.bias", dense.bias, (0,))
    elif prefix == "fc":
        yield _Entry("fc.weight", layer.kernel, (1, 0))
        yield _Entry("fc.bias", layer.bias, (0,))
    elif hasattr(layer, "gamma"):
        for name, variable in (
            ("weight", layer.gamma),
            ("bias", layer.beta),
            ("running_mean", layer.moving_mean),
            ("running_var", layer.moving_variance),
        ):
            yield _Entry(f"{prefix}.{name}", variable, (0,), scales=scales)
    else:
        yield _Entry(
            f"{prefix}.weight",
            layer.kernel,
            (3, 2, 0, 1),
            scales=scales,
            scale_axis=1,
        )


def _arrays(content, source):
    """Turns what a checkpoint holds into names and NumPy arrays."""
    if isinstance(content, collections.abc.Mapping):
        content = content.get("state_dict", content)
    if not isinstance(content, collections.abc.Mapping) or not all(
        isinstance(key, str) and hasattr(value, "shape")
        for key, value in content.items()
    ):
        raise ValueError(
            "A checkpoint must be a dictionary of tensors, or hold one as "
            f'its entry "state_dict". {source} does not.'
        )
    return {
        key.removeprefix("module."): _numpy(value)
        for key, value in content.items()
    }


def _numpy(tensor):
    """NumPy array of a tensor or array; 16-bit floats become float32."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        if tensor.is_floating_point() and tensor.dtype.itemsize == 2:
            tensor = tensor.float()
        tensor = tensor.numpy()
    array = np.asarray(tensor)
    return array.astype("float32") if array.dtype.itemsize == 2 else array


def _check_ending(path):
    path = os.fspath(path)
    if not path.endswith(ENDINGS):
        raise ValueError(
            f"`path` must end in {', '.join(ENDINGS)}. Received: path={path}"
        )
    return path


def _import(module, package):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"Reading and writing PyTorch's files needs {package}: "
            "pip install keras-epsanet[torch]"
        ) from error
