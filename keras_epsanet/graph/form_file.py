"""The file that keeps what was the fastest on which machine."""

import json
import os

import keras

from keras_epsanet import storage
from keras_epsanet.atomic import write_file
from keras_epsanet.ops.forms import Forms
from keras_epsanet.ops.layouts import LAYOUTS, Pyramid
from keras_epsanet.ops.processor import (
    gpu_name,
    processor_name,
    threads,
    vector_lanes,
)
from keras_epsanet.weights.downloads import cache_folder


def default_path():
    """Returns the path of the file in Keras' cache."""
    return os.path.join(cache_folder(), "forms.json")


def machine():
    """Returns what a measurement holds for: processor, threads, versions.

    Of a GPU its name instead of processor and threads.
    """
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
        import torch

        version = torch.__version__
    if gpu_name():
        return f"{gpu_name()}, {backend} {version}"
    return (
        f"{processor_name()}, {vector_lanes()} lanes, "
        f"{threads(backend)} threads, {backend} {version}"
    )


def describe(problem, batch_size, jit=False):
    """Returns what was measured in words, its key in the file.

    Args:
        problem: `forms.Problem` or `layouts.Pyramid`.
        batch_size: Integer.
        jit: Whether a pyramid was compiled.
    """
    if isinstance(problem, Pyramid):
        return _describe_pyramid(problem, batch_size, jit)
    height, width, channels, filters = problem.kernel_shape
    rows, columns = problem.output_sizes
    strides = "×".join(map(str, problem.strides))
    return (
        f"{height}×{width} of {problem.groups} groups, strides {strides}, "
        f"{channels * problem.groups} to {filters} channels, "
        f"{rows}×{columns} out, batch {batch_size}, {problem.dtype}"
    )


def _describe_pyramid(problem, batch_size, jit):
    def listed(numbers):
        return "×".join(map(str, numbers))

    branches = ", ".join(
        f"{size}×{size} of {groups} groups"
        for size, groups in zip(problem.kernel_sizes, problem.groups)
    )
    return (
        f"{branches}, strides {listed(problem.strides)}, "
        f"{listed(problem.input_shape)} {problem.data_format} "
        f"to {problem.filters} channels, "
        f"{'split input, ' if problem.split_input else ''}"
        f"batch {batch_size}, {problem.dtype}{', compiled' if jit else ''}"
    )


def read(path):
    """Returns what a file holds for this machine.

    Args:
        path: Path of the file; an empty result if it does not exist.

    Returns:
        Dictionary of triples by what `describe` returns: `Forms` or a
        layout, and the ratios of the times, forward and in a training step.

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
        (name, {**_fields(chosen), "forward": forward, "step": step})
        for name, (chosen, forward, step) in entries.items()
    )
    write_file(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _load(path):
    if not storage.exists(path):
        return {}
    with storage.open_file(path, encoding="utf-8") as file:
        return json.load(file)


def _fields(chosen):
    if isinstance(chosen, Forms):
        return chosen._asdict()
    return {"layout": chosen}


def _parse(forward, step, **fields):
    return _parse_fields(**fields), float(forward), float(step)


def _parse_fields(outputs=(), kernel_gradient=(), layout=None):
    if layout is not None:
        if layout not in LAYOUTS:
            raise ValueError(f"no layout: {layout}")
        return layout
    tiles = outputs, kernel_gradient
    for tile in tiles:
        if len(tile) != 2 or any(n not in (1, 2, 4) for n in tile):
            raise ValueError(f"no tile: {tile}")
    return Forms(*map(tuple, tiles))
