"""One checkpoint: where a training stands, as files of a folder.

`model.keras` is Keras' own file; it holds the model and its optimizer:
velocities, accumulated gradients, loss scale. What it lacks is in
`average.npz`, where there is an average of the weights, and in `state.json`.
`sha256sum --check SHA256SUMS` verifies them.
"""

import dataclasses
import json
import os
import re
import warnings

import keras
import numpy as np
from keras import ops

from keras_epsanet import storage
from keras_epsanet.atomic import (
    is_whole,
    remove_folder,
    sha256,
    sync,
    write_file,
)

MODEL, STATE, SUMS = "model.keras", "state.json", "SHA256SUMS"
AVERAGE = "average.npz"
STEP_NAME = re.compile(r"step-(\d{8,})")


@dataclasses.dataclass
class State:
    """Where a training stands.

    Args:
        step: Integer, finished steps of `fit` since the start.
        steps_per_epoch: Integer.
        metrics: List of arrays as lists, the running metrics of an epoch
            that is not finished; empty at its end.
        logs: Dictionary, what was logged in an epoch that was trained, but
            not evaluated yet; `None` otherwise.
        best_step: Integer, step at the end of the best epoch, or `None`.
        best_value: Float, the value by which it is the best, or `None`.
    """

    step: int = 0
    steps_per_epoch: int = 1
    metrics: list = dataclasses.field(default_factory=list)
    logs: dict | None = None
    best_step: int | None = None
    best_value: float | None = None

    @property
    def epoch(self):
        """Integer, the epochs whose steps are finished."""
        return self.step // self.steps_per_epoch

    @property
    def logged_epochs(self):
        """Integer, the epochs that were evaluated, if any are, and logged."""
        return self.epoch - (self.logs is not None)


def find_steps(folder):
    """Lists the steps of which there are checkpoints, intact or not.

    In a storage a checkpoint is there when its last file is.

    Args:
        folder: Path of the folder of the checkpoints; it need not exist.

    Returns:
        List of integers, the last step first.
    """
    if not storage.isdir(folder):
        return []
    matches = map(STEP_NAME.fullmatch, storage.listdir(folder))
    return sorted(
        (
            int(match[1])
            for match in matches
            if match and is_whole(os.path.join(folder, match[0]), SUMS)
        ),
        reverse=True,
    )


def remove_halves(folder):
    """Removes from a storage what an interrupted writing has left.

    Args:
        folder: Path of the folder of the checkpoints.
    """
    for name in storage.listdir(folder):
        path = os.path.join(folder, name)
        if STEP_NAME.fullmatch(name) and not is_whole(path, SUMS):
            remove_folder(path, SUMS)


def write(folder, model, state, recipe, average=None):
    """Writes a checkpoint into a new folder, all of it to the disk.

    Args:
        folder: Path of a folder that is made.
        model: Compiled `keras.Model` with the weights of the training.
        state: `State`.
        recipe: `Recipe`.
        average: `WeightAverage` or `None`.
    """
    os.mkdir(folder)
    path = os.path.join(folder, MODEL)
    model.save(path)
    sync(path)
    if average is not None:
        path = os.path.join(folder, AVERAGE)
        np.savez(path, *map(ops.convert_to_numpy, average.variables))
        sync(path)
    content = {
        "format": 1,
        "epoch": state.epoch,
        **dataclasses.asdict(state),
        "seed": recipe.seed,
        "recipe": dataclasses.asdict(recipe),
    }
    write_file(
        os.path.join(folder, STATE), json.dumps(content, indent=1) + "\n"
    )
    names = [name for name in (MODEL, STATE, AVERAGE) if _has(folder, name)]
    write_file(os.path.join(folder, SUMS), _sums(folder, names))
    sync(folder)


def read_state(folder):
    """Returns the `State` of a checkpoint."""
    with storage.open_file(os.path.join(folder, STATE)) as file:
        content = json.load(file)
    names = {field.name for field in dataclasses.fields(State)}
    # Older checkpoints have no `logs`.
    return State(**{name: content[name] for name in names & content.keys()})


def load(folder, model, average=None):
    """Gives a model, its optimizer and its average what a checkpoint holds.

    Args:
        folder: Path of the checkpoint.
        model: Compiled `keras.Model`, as it was saved.
        average: `WeightAverage` of the model, or `None`.

    Raises:
        ValueError: If the checkpoint is of another model, or has no average.
    """
    optimizer = model.optimizer
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    with warnings.catch_warnings():
        # Keras only warns of an optimizer that it does not load.
        warnings.filterwarnings("error", "Skipping variable loading")
        with storage.local_file(os.path.join(folder, MODEL)) as path:
            model.load_weights(path)
    if average is None:
        return
    if not _has(folder, AVERAGE):
        raise ValueError(
            "The checkpoint holds no average of the weights to go on with. "
            f"Received: {folder}"
        )
    with storage.open_file(os.path.join(folder, AVERAGE), "rb") as file:
        arrays = np.load(file)
        for variable, name in zip(average.variables, arrays, strict=True):
            variable.assign(arrays[name])
    average.forget()


def check_finite(model, step, average=None):
    """Raises a FloatingPointError if a variable is infinite or no number."""
    variables = [*model.variables, *model.optimizer.variables]
    if average is not None:
        variables += average.variables
    for variable in variables:
        if keras.backend.is_float_dtype(variable.dtype) and not ops.all(
            ops.isfinite(ops.convert_to_tensor(variable))
        ):
            raise FloatingPointError(
                f"After step {step} the variable {variable.path} is not "
                "finite, and no checkpoint is written"
            )


def damage(folder):
    """Says in a few words what is wrong with a checkpoint, or `None`.

    Args:
        folder: Path of the checkpoint.

    Raises:
        OSError: If a storage fails, which says nothing of the checkpoint.
    """
    try:
        path = os.path.join(folder, SUMS)
        with storage.open_file(path, errors="replace") as file:
            text = file.read()
        names = [MODEL, STATE]
        if AVERAGE in text or _has(folder, AVERAGE):
            names.append(AVERAGE)
        lines = [_sums(folder, [name]) for name in names]
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError)
        if storage.is_remote(folder) and not is_missing:
            raise
        return str(error)
    if text == "".join(lines):
        return None
    wrong = [name for name, line in zip(names, lines) if line not in text]
    return f"{' and '.join(wrong) or 'something'} differs from {SUMS}"


def _sums(folder, names):
    """Returns lines as sha256sum writes them."""
    return "".join(
        f"{sha256(os.path.join(folder, name))}  {name}\n" for name in names
    )


def _has(folder, name):
    return storage.exists(os.path.join(folder, name))


def read_metrics(model):
    """Returns the values of a model's running metrics as nested lists."""
    return [
        np.asarray(ops.convert_to_numpy(variable)).tolist()
        for metric in model.metrics
        for variable in metric.variables
    ]


def add_to_metrics(model, values):
    """Adds to a model's metrics the sums that `read_metrics` returned."""
    variables = [v for metric in model.metrics for v in metric.variables]
    for variable, value in zip(variables, values, strict=True):
        # Not `assign_add`, which variables of several devices refuse.
        variable.assign(ops.convert_to_tensor(variable) + value)
