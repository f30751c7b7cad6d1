"""PyTorch's files as dictionaries of NumPy arrays, executing nothing."""

import collections.abc
import importlib
import os
import pickle

import numpy as np

# Endings of the files that are read and written.
ENDINGS = (".pth", ".pt", ".pth.tar", ".safetensors")


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
    return to_arrays(read_content(path), path)


def read_content(path):
    """Reads whatever a PyTorch or safetensors file holds, executing nothing.

    Args:
        path: Path of a `.pth`, `.pt`, `.pth.tar` or `.safetensors` file.

    Returns:
        What was saved: mostly a dictionary of tensors, or one that has it as
        its entry `"state_dict"` beside others, such as `"meta"`.

    Raises:
        ValueError: If there is no such file, or it is damaged or holds
            anything but data.
        ImportError: If PyTorch or safetensors is needed and not installed.
    """
    path = check_ending(path)
    if not os.path.isfile(path):
        raise ValueError(f"There is no file {path}. Received: path={path}")
    if path.endswith(".safetensors"):
        safetensors = import_for_files("safetensors.numpy", "safetensors")
        try:
            return safetensors.load_file(path)
        except Exception as error:
            raise ValueError(
                f"{path} is damaged or not a safetensors file: {error}"
            ) from error
    else:
        torch = import_for_files("torch", "torch")
        try:
            with torch.serialization.safe_globals(_numpy_scalars()):
                return torch.load(path, map_location="cpu", weights_only=True)
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


def _numpy_scalars():
    """What rebuilds a NumPy number, an accuracy in `meta` for one.

    All of it only copies bytes. Types that can hold an object stay out.
    """
    types = {getattr(np.dtypes, name) for name in np.dtypes.__all__}
    types -= {np.dtypes.ObjectDType, np.dtypes.VoidDType}
    scalar = np.float64(0).__reduce__()[0]
    # NumPy 2 moved the function; files say where it was.
    modules = ("numpy.core.multiarray", "numpy._core.multiarray")
    names = [(scalar, f"{module}.scalar") for module in modules]
    return [*names, np.dtype, *types]


def to_arrays(content, source):
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
        key.removeprefix("module."): to_numpy(value)
        for key, value in content.items()
    }


def to_numpy(tensor):
    """NumPy array of a tensor or array; 16-bit floats become float32."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        if tensor.is_floating_point() and tensor.dtype.itemsize == 2:
            tensor = tensor.float()
        tensor = tensor.numpy()
    array = np.asarray(tensor)
    return array.astype("float32") if array.dtype.itemsize == 2 else array


def check_ending(path):
    path = os.fspath(path)
    if not path.endswith(ENDINGS):
        raise ValueError(
            f"`path` must end in {', '.join(ENDINGS)}. Received: path={path}"
        )
    return path


def import_for_files(module, package):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"Reading and writing PyTorch's files needs {package}: "
            "pip install keras-epsanet[torch]"
        ) from error
