"""Checkpoints that survive a kill at any moment.

    RUN/recipe.json
    RUN/checkpoints/step-00001000/model.keras
                                  state.json
                                  SHA256SUMS

`model.keras` is Keras' own file; it holds the model and its optimizer:
velocities, average of the weights, accumulated gradients, loss scale. What it
lacks is in `state.json`. `sha256sum --check SHA256SUMS` verifies both.

No `.weights.h5` is written to the disk by HDF5 itself, which crashes the
process if the disk is full. Keras lets it write `model.keras` in memory.
"""

import dataclasses
import json
import os
import re
import shutil
import tempfile
import warnings
import zipfile

import keras
import numpy as np
from keras import ops

from keras_epsanet.training.durable import sha256, sync, write_file

FOLDER = "checkpoints"
_MODEL, _STATE, _SUMS = "model.keras", "state.json", "SHA256SUMS"
_TEMPORARY = ".tmp-"
_NAME = re.compile(r"step-(\d{8,})")


@dataclasses.dataclass
class State:
    """Where a training stands.

    Args:
        step: Integer, finished steps of `fit` since the start.
        steps_per_epoch: Integer.
        metrics: List of arrays as lists, the running metrics of an epoch
            that is not finished; empty at its end.
        best_step: Integer, step at the end of the best epoch, or `None`.
        best_value: Float, the value by which it is the best, or `None`.
    """

    step: int = 0
    steps_per_epoch: int = 1
    metrics: list = dataclasses.field(default_factory=list)
    best_step: int | None = None
    best_value: float | None = None

    @property
    def epoch(self):
        """Integer, the epochs that are finished."""
        return self.step // self.steps_per_epoch


class RunFolder:
    """The folder of one training: its recipe and its checkpoints.

    What is left of checkpoints whose writing was interrupted is removed.
    With several workers each makes one of the same folder, which all must
    see, and calls `save` and `restore` at the same time.

    Args:
        path: Folder. It is made if need be.
        recipe: `Recipe`, which is also written there.
        keep: Integer, number of checkpoints to keep; the best one stays too.
        is_chief: Whether this process is the one that writes.

    Raises:
        ValueError: If the folder belongs to another recipe.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> from keras_epsanet.training import Recipe
    >>> run = RunFolder("runs/dense", Recipe(epochs=1))
    >>> run.restore(model, steps_per_epoch=10).step
    0
    >>> run.save(model, State(step=10, steps_per_epoch=10))
    'runs/dense/checkpoints/step-00000010'
    >>> run.restore(model, steps_per_epoch=10).epoch
    1
    """

    def __init__(self, path, recipe, keep=3, is_chief=True):
        self.path = os.fspath(path)
        self.recipe = recipe
        self.keep = keep
        self.is_chief = is_chief
        self._checkpoints = os.path.join(self.path, FOLDER)
        os.makedirs(self._checkpoints, exist_ok=True)
        self._claim()
        if is_chief:
            for name in os.listdir(self._checkpoints):
                if name.startswith(_TEMPORARY):
                    shutil.rmtree(os.path.join(self._checkpoints, name))

    def _claim(self):
        """Writes the recipe, or compares it with the one that is there."""
        path = os.path.join(self.path, "recipe.json")
        if os.path.exists(path):
            with open(path) as file:
                theirs = type(self.recipe).from_json(file.read())
            differences = self.recipe.differences(theirs)
            if differences:
                raise ValueError(
                    f"{self.path} belongs to a training with another recipe. "
                    "Take another folder, or the recipe in recipe.json. "
                    f"Received: {'; '.join(differences)}"
                )
        elif self.is_chief:
            write_file(path, self.recipe.to_json())

    def steps(self):
        """Lists the steps of which there are checkpoints, intact or not.

        Returns:
            List of integers, the last step first.
        """
        matches = map(_NAME.fullmatch, os.listdir(self._checkpoints))
        return sorted((int(match[1]) for match in matches if match))[::-1]

    def folder(self, step):
        """Returns the path of the checkpoint of a step."""
        return os.path.join(self._checkpoints, f"step-{step:08d}")

    def save(self, model, state):
        """Writes a checkpoint, and removes old ones.

        Args:
            model: Compiled `keras.Model`.
            state: `State`.

        Returns:
            Path of the checkpoint.

        Raises:
            FloatingPointError: If a weight is infinite or not a number.
            OSError: If the files cannot be written. Older checkpoints stay
                as they are, and nothing is left of the new one.
        """
        _check_finite(model, state.step)
        folder = self.folder(state.step)
        if not self.is_chief:
            # Variables of several workers are read by all of them together.
            with tempfile.TemporaryDirectory() as temporary:
                model.save(os.path.join(temporary, _MODEL))
            return folder
        temporary = os.path.join(
            self._checkpoints, _TEMPORARY + os.path.basename(folder)
        )
        try:
            self._write(model, state, temporary)
            if os.path.exists(folder):
                # A damaged one, for this step is new to this training.
                shutil.rmtree(folder)
            os.rename(temporary, folder)
            sync(self._checkpoints)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            kept = [step for step in self.steps() if step != state.step]
            raise OSError(
                f"The checkpoint of step {state.step} cannot be written to "
                f"{folder}: {error.strerror or error}. "
                + (
                    f"That of step {kept[0]} is intact."
                    if kept
                    else "There is no earlier one."
                )
            ) from error
        self._remove_old(state)
        return folder

    def export(self, network, name):
        """Saves the weights of a network alone, to load with `weights=`.

        Args:
            network: `keras.Model`, part of the one that was trained.
            name: Name of the file in the folder, that ends in `.weights.h5`.

        Returns:
            The SHA-256 of the file in hexadecimal digits, or `None` if this
            process is not the one that writes.
        """
        with tempfile.TemporaryDirectory(
            prefix=_TEMPORARY, dir=self._checkpoints if self.is_chief else None
        ) as folder:
            archive = os.path.join(folder, _MODEL)
            network.save(archive)
            if not self.is_chief:
                return None
            with zipfile.ZipFile(archive) as file:
                # As `save_weights` would have written it.
                weights = file.extract("model.weights.h5", folder)
            sync(weights)
            path = os.path.join(self.path, name)
            os.replace(weights, path)
        sync(self.path)
        return sha256(path)

    def _write(self, model, state, temporary):
        os.mkdir(temporary)
        path = os.path.join(temporary, _MODEL)
        model.save(path)
        sync(path)
        content = {
            "format": 1,
            "epoch": state.epoch,
            **dataclasses.asdict(state),
            "seed": self.recipe.seed,
            "recipe": dataclasses.asdict(self.recipe),
        }
        write_file(
            os.path.join(temporary, _STATE),
            json.dumps(content, indent=1) + "\n",
        )
        lines = _sums(temporary).values()
        write_file(os.path.join(temporary, _SUMS), "".join(lines))
        sync(temporary)

    def _remove_old(self, state):
        """Keeps the last ones and the best."""
        past = [step for step in self.steps() if step <= state.step]
        keep = {*past[: self.keep], state.best_step}
        # Those of later steps are damaged: this training began before them.
        for step in self.steps():
            if step not in keep:
                shutil.rmtree(self.folder(step), ignore_errors=True)

    def restore(self, model, steps_per_epoch, step=None):
        """Loads the last checkpoint that is intact, if there is any.

        Args:
            model: Compiled `keras.Model`, as it was saved.
            steps_per_epoch: Integer, as it was when it was saved.
            step: Integer, step of the checkpoint, or `None` for the last.

        Returns:
            `State`; of step 0 if there are no checkpoints.

        Raises:
            ValueError: If there are checkpoints but none is intact, or
                `steps_per_epoch` was another, which says that the data is.
        """
        steps = self.steps() if step is None else [step]
        for candidate in steps:
            folder = self.folder(candidate)
            damage = _damage(folder)
            if damage:
                warnings.warn(
                    f"The checkpoint {folder} is damaged ({damage}). The one "
                    "before it is used."
                )
                continue
            state = _read_state(folder)
            if state.steps_per_epoch != steps_per_epoch:
                raise ValueError(
                    f"{self.path} was trained on other data. Received: "
                    f"steps_per_epoch={steps_per_epoch}, not "
                    f"{state.steps_per_epoch}"
                )
            _load(model, os.path.join(folder, _MODEL))
            return state
        if steps:
            raise ValueError(
                f"No checkpoint in {self._checkpoints} is intact. Received: "
                f"the steps {steps}"
            )
        return State(steps_per_epoch=steps_per_epoch)


def _check_finite(model, step):
    variables = [*model.variables, *model.optimizer.variables]
    for variable in variables:
        if keras.backend.is_float_dtype(variable.dtype) and not ops.all(
            ops.isfinite(ops.convert_to_tensor(variable))
        ):
            raise FloatingPointError(
                f"After step {step} the variable {variable.path} is not "
                "finite, and no checkpoint is written"
            )


def _damage(folder):
    """Says in a few words what is wrong with a checkpoint, or `None`."""
    try:
        with open(os.path.join(folder, _SUMS), errors="replace") as file:
            text = file.read()
        lines = _sums(folder)
    except OSError as error:
        return str(error)
    if text == "".join(lines.values()):
        return None
    names = [name for name, line in lines.items() if line not in text]
    return f"{' and '.join(names) or 'something'} differs from {_SUMS}"


def _sums(folder):
    """Returns the lines of `SHA256SUMS`, as sha256sum writes them, by name."""
    return {
        name: f"{sha256(os.path.join(folder, name))}  {name}\n"
        for name in (_MODEL, _STATE)
    }


def _read_state(folder):
    with open(os.path.join(folder, _STATE)) as file:
        content = json.load(file)
    names = (field.name for field in dataclasses.fields(State))
    return State(**{name: content[name] for name in names})


def _load(model, path):
    optimizer = model.optimizer
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    with warnings.catch_warnings():
        # Keras only warns of an optimizer that it does not load.
        warnings.filterwarnings("error", "Skipping variable loading")
        model.load_weights(path)


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
