"""The file that keeps which forms were the fastest on which machine."""

import json
import os

import keras

from keras_epsanet import storage
from keras_epsanet.atomic import write_file
from keras_epsanet.ops.forms import Forms
from keras_epsanet.ops.processor import (
    processor_name,
    threads,
    vector_lanes,
)
from keras_epsanet.weights.downloads import cache_folder


def default_path():
    """Returns the path of the file in Keras' cache."""
    return os.path.join(cache_folder(), "forms.json")


def machine():
    """Returns what a measurement holds for: processor, threads, versions."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow

        version = tensorflow.__version__
        # Whether it may use oneDNN; unset, it decides by the processor.
        version += f" oneDNN {os.environ.get('TF_ENABLE_ONEDNN_OPTS', '-')}"
    elif backend == "jax":
        import jax

        version = jax.__version__
    else:
        version = ""
    return (
        f"{processor_name()}, {vector_lanes()} lanes, "
        f"{threads(backend)} threads, {backend} {version}"
    )


def describe(problem, batch_size):
    """Returns a convolution in words, the key of what was measured of it."""
    height, width, channels, filters = problem.kernel_shape
    rows, columns = problem.output_sizes
    strides = "×".join(map(str, problem.strides))
    return (
        f"{height}×{width} of {problem.groups} groups, strides {strides}, "
        f"{channels * problem.groups} to {filters} channels, "
        f"{rows}×{columns} out, batch {batch_size}, {problem.dtype}"
    )


def read(path):
    """Returns what a file holds for this machine.

    Args:
        path: Path of the file; an empty result if it does not exist.

    Returns:
        Dictionary of triples by convolution: `Forms`, and the ratios of the
        times, forward and in a training step.

    Raises:
        ValueError: If it is no such file.
    """
    try:
        known = _load(path).get(machine(), {})
        return {name: _parse(**entry) for name, entry in known.items()}
    except (
        AttributeError,
        IsADirectoryError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(
            "`file` must be a file that `autotune` has written, or a new "
            f"one. Received: file={path} ({error})"
        ) from error


def write(path, entries):
    """Adds entries to a file, and keeps those of other machines.

    Args:
        path: Path of the file.
        entries: Dictionary as `read` returns it.
    """
    content = _load(path)
    storage.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    content.setdefault(machine(), {}).update(
        (name, {**forms._asdict(), "forward": forward, "step": step})
        for name, (forms, forward, step) in entries.items()
    )
    write_file(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _load(path):
    if not storage.exists(path):
        return {}
    with storage.open_file(path, encoding="utf-8") as file:
        return json.load(file)


def _parse(outputs, kernel_gradient, forward, step):
    tiles = outputs, kernel_gradient
    for tile in tiles:
        if len(tile) != 2 or any(n not in (1, 2, 4) for n in tile):
            raise ValueError(f"no tile: {tile}")
    return Forms(*map(tuple, tiles)), float(forward), float(step)
