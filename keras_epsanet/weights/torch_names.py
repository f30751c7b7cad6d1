"""Weights from and to the names and layouts of the published PyTorch code.

The code of EPSANet, https://github.com/murufeng/EPSANet, concatenates the
scales of PSA in reverse; here they stand in the order of the paper. What
follows PSA, the batch normalization and the input channels of the next
convolution, is therefore turned round, scale by scale.
"""

import collections
import collections.abc

import numpy as np

from keras_epsanet.atomic import whole
from keras_epsanet.weights.entries import COUNTER, assign_entries
from keras_epsanet.weights.network_entries import network_entries
from keras_epsanet.weights.state_contents import (
    common_names,
    why_another_network,
)
from keras_epsanet.weights.torch_files import (
    check_ending,
    import_for_files,
    read_checkpoint,
    to_arrays,
)


def load_torch_weights(model, path_or_state_dict):
    """Loads the weights of a published PyTorch implementation into a model.

    Args:
        model: An EPSANet, a ResNet with or without attention, or a backbone
            of one, whatever the prefix of its layers. One without
            classifier ignores the file's. Layers that are not of the
            network, such as a `Rescaling` in front of it, are left alone.
        path_or_state_dict: Path of a `.pth`, `.pt`, `.pth.tar`, `.pkl` or
            `.safetensors` file, or a dictionary of tensors or arrays: a
            state dict, or the dictionary that a training script saves,
            with or without the prefix `module.`. If it has an averaged model
            (`"state_dict_ema"`, `"model_ema"`), that one is loaded. The
            names are those of the attention's authors, or of another
            publisher in the docs. `num_batches_tracked` is ignored.

    Raises:
        ValueError: If the file cannot be read or holds anything but data,
            if an entry is missing, unexpected or of another shape, or if no
            names are known for the attention. The model is left as it was.
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
    assign_state_dict(model, common_names(state))


def save_torch_weights(model, path):
    """Writes the weights of a model for the authors' PyTorch code.

    Args:
        model: An EPSANet, a ResNet with or without attention, or a backbone
            of one, whatever the prefix of its layers.
        path: Path of the file. `.safetensors` writes that format, `.pth`,
            `.pt` and `.pth.tar` a state dict by `torch.save`.

    Raises:
        ValueError: If the ending is unknown or the model has weights that
            no PyTorch code is known to have a name for.
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
    write_entries(entries, path)


def write_entries(entries, path):
    """Writes entries, and the counters of BatchNorms, to PyTorch's file.

    Args:
        entries: List of `Entry` and `Constant`.
        path: As in `save_torch_weights`.

    Raises:
        ImportError: If PyTorch or safetensors is needed and not installed.
    """
    state = {}
    for entry in entries:
        state[entry.key] = entry.to_torch()
        if entry.key.endswith(".running_var"):
            counter = entry.key.replace("running_var", COUNTER)
            state[counter] = np.array(0, "int64")
    if path.endswith(".safetensors"):
        safetensors = import_for_files("safetensors.numpy", "safetensors")

        def write(state, name):
            # Its `save_file` makes files that nobody else may read.
            data = safetensors.save(state, metadata={"format": "pt"})
            with open(name, "wb") as file:
                file.write(data)
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
        model: As in `load_torch_weights`.
        state: Dictionary from the PyTorch names to arrays.
        skip_classifier: Whether the classifier keeps its weights.

    Raises:
        ValueError: If an entry is missing, unexpected or of another shape.
    """
    entries = network_entries(model, state)
    if skip_classifier:
        entries = [e for e in entries if not e.key.startswith("fc.")]
    has_classifier = any(e.key.startswith("fc.") for e in entries)
    state = {
        key: array
        for key, array in state.items()
        if has_classifier or not key.startswith("fc.")
    }
    try:
        assign_entries(entries, state)
    except ValueError as error:
        reason = why_another_network(model, state)
        if not reason:
            raise
        raise ValueError(
            "The weights do not fit the model, which was left as it was. "
            f"{reason}"
        ) from error
