"""PyTorch's files as dictionaries of NumPy arrays, executing nothing."""

import argparse
import collections.abc
import importlib
import os
import pickle
import re

import numpy as np

from keras_epsanet import storage

# Endings of the files that are written, and of those that are read.
ENDINGS = (".pth", ".pt", ".pth.tar", ".safetensors")
READ_ENDINGS = (*ENDINGS, ".pkl")
# Where training scripts keep the weights, averaged ones first: timm,
# torchvision, then all. MMEngine's "ema_state_dict" is none of them: when it
# saves, it swaps the two, so that its "state_dict" is the averaged one.
_STATES = ("state_dict_ema", "model_ema", "state_dict", "model")
_NUMBER_AVERAGED = "n_averaged"  # Beside the weights of PyTorch's averages.


def read_checkpoint(path):
    """Reads the weights of a PyTorch or safetensors file, executing nothing.

    Args:
        path: Path of a `.pth`, `.pt`, `.pth.tar`, `.pkl` or `.safetensors`
            file. Of a training's checkpoint it is the averaged weights that are
            read, if it has them.

    Returns:
        A dictionary from names, without `module.`, to NumPy arrays.

    Raises:
        ValueError: If there is no such file, or it is damaged or holds
            anything but data.
        ImportError: If PyTorch or safetensors is needed and not installed.
    """
    return to_arrays(read_content(path), path)


def read_content(path):
    """Reads whatever a PyTorch or safetensors file holds, executing nothing.

    Args:
        path: Path of a `.pth`, `.pt`, `.pth.tar`, `.pkl` or `.safetensors`
            file.

    Returns:
        What was saved: mostly a dictionary of tensors, or one that has it as
        its entry `"state_dict"` or `"model"` beside others, such as `"meta"`.

    Raises:
        ValueError: If there is no such file, or it is damaged or holds
            anything but data.
        ImportError: If PyTorch or safetensors is needed and not installed.
    """
    path = check_ending(path, READ_ENDINGS)
    if not storage.isfile(path):
        raise ValueError(f"There is no file {path}. Received: path={path}")
    if not storage.getsize(path):
        raise ValueError(f"{path} is an empty file. Received: path={path}")
    with storage.local_file(path) as file:
        return _read_file(file, path)


def _read_file(file, path):
    """Reads a file of this machine, of which messages have another path."""
    if path.endswith(".safetensors"):
        safetensors = import_for_files("safetensors.numpy", "safetensors")
        try:
            return safetensors.load_file(file)
        except Exception as error:
            raise ValueError(
                f"{path} is damaged or not a safetensors file: {error}"
            ) from error
    else:
        torch = import_for_files("torch", "torch")
        try:
            values = [*_plain_values(), *_logged_values()]
            with torch.serialization.safe_globals(values):
                content = torch.load(
                    file, map_location="cpu", weights_only=True
                )
            _refuse_parts_of_logs(content)
            return content
        except pickle.UnpicklingError as error:
            raise ValueError(
                f"{path} is damaged, or a pickle that holds more than tensors "
                "and plain values. Such a file can run any code when it is "
                f"read, so it is refused: {_without_advice(error)}"
            ) from error
        except Exception as error:
            raise ValueError(
                f"{path} is damaged or not a PyTorch checkpoint: {error!r}"
            ) from error


def _without_advice(error):
    """What PyTorch found in a pickle, but not how to run it anyway."""
    found = re.search(
        r"(Unsupported|Trying to load).*?(?=\. Please|\n|$)", str(error)
    )
    return found[0] if found else type(error).__name__


def _plain_values():
    """What rebuilds a NumPy number and the arguments of a training script.

    The former only copies bytes; types that can hold an object stay out. The
    latter, argparse's, only keeps values, which are checked themselves.
    """
    types = {getattr(np.dtypes, name) for name in np.dtypes.__all__}
    types -= {np.dtypes.ObjectDType, np.dtypes.VoidDType}
    scalar = np.float64(0).__reduce__()[0]
    # NumPy 2 moved the function; files say where it was.
    modules = ("numpy.core.multiarray", "numpy._core.multiarray")
    names = [(scalar, f"{module}.scalar") for module in modules]
    return [*names, np.dtype, *types, argparse.Namespace]


class _Logged:
    """Stands for a log of MMEngine's, of which it keeps nothing."""

    def __init__(self, *args):
        pass

    def __setstate__(self, state):
        pass


class _OfLog(_Logged):
    """Stands for what only a log may hold."""


def _logged_values():
    """What MMEngine's logs are made of, each as an object without contents.

    A checkpoint of MMDetection 3 has them beside the weights. None of the
    functions that the pickle names is called: `_OfLog` is, in their place.
    """
    log = "mmengine.logging.history_buffer.HistoryBuffer"
    others = (
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray._reconstruct",
        "numpy.ndarray",
        "builtins.getattr",
    )
    return [(_Logged, log), *((_OfLog, name) for name in others)]


def _refuse_parts_of_logs(value):
    """Raises if what only a log may hold is elsewhere in nested values."""
    if isinstance(value, _OfLog) or value is _OfLog:
        raise pickle.UnpicklingError("Unsupported array or function")
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if isinstance(value, collections.abc.Mapping):
        value = value.values()
    elif not isinstance(value, (list, tuple, set)):
        return
    for inner in value:
        _refuse_parts_of_logs(inner)


def to_arrays(content, source):
    """Turns what a checkpoint holds into names and NumPy arrays.

    Args:
        content: Dictionary of tensors or arrays, or one that has it as its
            entry `"state_dict"` or `"model"`. An averaged model beside it,
            `"state_dict_ema"` or `"model_ema"`, is preferred: it is what
            those who trained it evaluate.
        source: String that names the checkpoint in messages.

    Returns:
        A dictionary from names, without `module.`, to NumPy arrays.

    Raises:
        ValueError: If it is not one.
    """
    if isinstance(content, collections.abc.Mapping):
        for name in _STATES:
            if name in content:
                content = content[name]
                break
    if not isinstance(content, collections.abc.Mapping) or not all(
        isinstance(key, str) and hasattr(value, "shape")
        for key, value in content.items()
    ):
        raise ValueError(
            "A checkpoint must be a dictionary of tensors, or hold one as "
            f'its entry "state_dict" or "model". {source} does not.'
        )
    return {
        key.removeprefix("module."): to_numpy(value)
        for key, value in content.items()
        if key != _NUMBER_AVERAGED
    }


def to_numpy(tensor):
    """NumPy array of a tensor or array; 16-bit floats become float32."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        if tensor.is_floating_point() and tensor.dtype.itemsize == 2:
            tensor = tensor.float()
        tensor = tensor.numpy()
    # A copy, for variables of JAX may keep the memory of the array.
    array = np.array(tensor)
    return array.astype("float32") if array.dtype.itemsize == 2 else array


def check_ending(path, endings=ENDINGS):
    path = os.fspath(path)
    if not path.endswith(endings):
        raise ValueError(
            f"`path` must end in {', '.join(endings)}. Received: path={path}"
        )
    return path


def import_for_files(module, package):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"Reading and writing PyTorch's files needs {package}: "
            f"pip install {package}"
        ) from error
