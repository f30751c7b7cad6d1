"""The folder of a training, with checkpoints that survive any kill.

    RUN/recipe.json
    RUN/teacher.json                 where there is one
    RUN/.lock
    RUN/checkpoints/step-00001000/
    RUN/SHA256SUMS                   of what is exported

No `.weights.h5` is written to the disk by HDF5 itself, which crashes the
process if the disk is full. Keras lets it write `model.keras` in memory.
"""

import contextlib
import os
import shutil
import tempfile
import warnings
import zipfile

from keras_epsanet import storage
from keras_epsanet.atomic import (
    remove_folder,
    remove_unfinished,
    sha256,
    whole,
    write_file,
)
from keras_epsanet.training import checkpoints, teacher
from keras_epsanet.training.checkpoints import SUMS, State
from keras_epsanet.training.claim import check_claim, claim_folder
from keras_epsanet.training.recipe_file import FILE, read_recipe_file

FOLDER = "checkpoints"


class RunFolder:
    """The folder of one training: its recipe and its checkpoints.

    The folder is locked against other processes until this object is gone
    or the process has ended; one in a storage, such as `gs://bucket/run`, is
    of the process that made the last `RunFolder` of it. What is left of
    checkpoints whose writing was interrupted is removed. With several workers
    each makes one of the same folder, which all must see, and calls `save`
    and `restore` at the same time; the chief alone locks it.

    Args:
        path: Folder, `gs://bucket/run` too. It is made if need be.
        recipe: `Recipe`, which is also written there.
        keep: Integer from 1, number of checkpoints to keep; the best one
            that each of them knows stays too.
        is_chief: Whether this process is the one that writes.

    Raises:
        ValueError: If another process uses the folder, it belongs to another
            recipe, or `keep` is less than 1.

    Example:

    >>> import keras
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
        if not isinstance(keep, int) or keep < 1:
            raise ValueError(
                f"`keep` must be an integer from 1. Received: keep={keep}"
            )
        self.path = os.fspath(path)
        self.recipe = recipe
        self.keep = keep
        self.is_chief = is_chief
        self._checkpoints = os.path.join(self.path, FOLDER)
        # Before the claim, which in a storage ends the training of the folder.
        self._check_recipe()
        storage.makedirs(self._checkpoints, exist_ok=True)
        self.claim = claim_folder(self.path) if is_chief else None
        if is_chief:
            # Again, for another process may have written one meanwhile.
            if not self._check_recipe():
                self._write_recipe()
            remove_unfinished(self.path)
            remove_unfinished(self._checkpoints)
            checkpoints.remove_halves(self._checkpoints)

    def _check_recipe(self):
        """Raises if another recipe is there; returns whether one is."""
        path = os.path.join(self.path, FILE)
        self._noted = self.recipe
        if not storage.exists(path):
            return False
        self._noted = read_recipe_file(path, type(self.recipe))
        differences = self.recipe.differences(
            teacher.respelled(self.path, self._noted, self.recipe)
        )
        if differences:
            raise ValueError(
                f"{self.path} belongs to a training with another recipe. "
                "Take another folder, or the recipe in recipe.json. "
                f"Received: {'; '.join(differences)}"
            )
        return True

    def _write_recipe(self):
        write_file(f"{self.path}/{FILE}", self.recipe.to_json())

    def _note(self):
        """Writes what a training goes on with, which nothing has refused."""
        if self.is_chief:
            if self.recipe != self._noted:
                self._write_recipe()
            teacher.note(self.path, self.recipe)

    def steps(self):
        """Lists the steps of which there are checkpoints, intact or not.

        Returns:
            List of integers, the last step first.
        """
        return checkpoints.find_steps(self._checkpoints)

    def folder(self, step):
        """Returns the path of the checkpoint of a step."""
        return os.path.join(self._checkpoints, f"step-{step:08d}")

    def save(self, model, state, average=None):
        """Writes a checkpoint, and removes old ones.

        Args:
            model: Compiled `keras.Model`.
            state: `State`.
            average: `WeightAverage` of the model, or `None`. Both are saved,
                the weights of the training and their average.

        Returns:
            Path of the checkpoint.

        Raises:
            FloatingPointError: If a weight is infinite or not a number.
            OSError: If the files cannot be written. Older checkpoints stay
                as they are, and nothing is left of the new one.
            RuntimeError: If another process has taken over the folder.
        """
        checkpoints.check_finite(model, state.step, average)
        swapped_out = contextlib.nullcontext()
        if average is not None:
            swapped_out = average.swapped_out()
        with swapped_out:
            if self.is_chief:
                self._write(model, state, average)
            else:
                # Variables of several workers are read by all together.
                with tempfile.TemporaryDirectory() as temporary:
                    model.save(os.path.join(temporary, checkpoints.MODEL))
        return self.folder(state.step)

    def export(self, network, name):
        """Saves the weights of a network alone, to load with `weights=`.

        `SHA256SUMS` in the folder gets a line for it.

        Args:
            network: `keras.Model`, part of the one that was trained.
            name: Name of the file in the folder, that ends in `.weights.h5`.

        Returns:
            The SHA-256 of the file in hexadecimal digits, or `None` if this
            process is not the one that writes.
        """
        path = os.path.join(self.path, name)
        with tempfile.TemporaryDirectory() as folder:
            archive = os.path.join(folder, checkpoints.MODEL)
            network.save(archive)
            if not self.is_chief:
                return None
            check_claim(self.claim)
            with zipfile.ZipFile(archive) as file, whole(path) as temporary:
                # As `save_weights` would have written it.
                with (
                    file.open("model.weights.h5") as weights,
                    open(temporary, "wb") as copy,
                ):
                    shutil.copyfileobj(weights, copy)
        digits = sha256(path)
        self._note_sum(digits, name)
        return digits

    def _note_sum(self, digits, name):
        path = os.path.join(self.path, SUMS)
        lines = []
        if storage.exists(path):
            with storage.open_file(path) as file:
                lines = [x for x in file if x.rstrip("\n")[66:] != name]
        write_file(path, "".join([*lines, f"{digits}  {name}\n"]))

    def _write(self, model, state, average):
        folder = self.folder(state.step)
        try:
            check_claim(self.claim)
            # There may be a damaged one, or this one before its evaluation.
            with whole(folder, replace_folder=True, last=SUMS) as temporary:
                checkpoints.write(temporary, model, state, self.recipe, average)
        except OSError as error:
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
        # Those that are left do no harm, and go the next time.
        with contextlib.suppress(OSError):
            self._remove_old(state)

    def _remove_old(self, state):
        """Keeps the last ones, and the best that each of them knows."""
        steps = self.steps()
        past = [step for step in steps if step <= state.step]
        keep = set(past[: self.keep])
        for step in past[: self.keep]:
            try:
                keep.add(checkpoints.read_state(self.folder(step)).best_step)
            except (ValueError, KeyError):
                pass  # It is damaged.
            except OSError:
                if storage.is_remote(self.path):
                    raise
        # Those of later steps are damaged: this training began before them.
        for step in steps:
            if step not in keep:
                remove_folder(self.folder(step), SUMS)

    def restore(self, model, steps_per_epoch, step=None, average=None):
        """Loads the last checkpoint that is intact, if there is any.

        Only then `recipe.json` becomes that of a longer training.

        Args:
            model: Compiled `keras.Model`, as it was saved.
            steps_per_epoch: Integer, as it was when it was saved.
            step: Integer, step of the checkpoint, or `None` for the last.
            average: `WeightAverage` of the model, or `None`.

        Returns:
            `State`; of step 0 if there are no checkpoints. It knows a best
            epoch only if its checkpoint is intact too.

        Raises:
            ValueError: If there are checkpoints but none is intact,
                `steps_per_epoch` was another, which says that the data is,
                or the average is missing.
            OSError: If a storage fails.
        """
        steps = self.steps() if step is None else [step]
        for candidate in steps:
            folder = self.folder(candidate)
            if self._is_damaged(folder, "The one before it is used."):
                continue
            state = checkpoints.read_state(folder)
            if state.steps_per_epoch != steps_per_epoch:
                raise ValueError(
                    f"{self.path} was trained on other data. Received: "
                    f"steps_per_epoch={steps_per_epoch}, not "
                    f"{state.steps_per_epoch}"
                )
            checkpoints.load(folder, model, average)
            best = state.best_step
            if best not in (None, candidate) and self._is_damaged(
                self.folder(best), "Later epochs are compared without it."
            ):
                state.best_step = state.best_value = None
            self._note()
            return state
        if steps:
            raise ValueError(
                f"No checkpoint in {self._checkpoints} is intact. Received: "
                f"the steps {steps}"
            )
        self._note()
        return State(steps_per_epoch=steps_per_epoch)

    def _is_damaged(self, folder, consequence):
        damage = checkpoints.damage(folder)
        if damage:
            warnings.warn(
                f"The checkpoint {folder} is damaged ({damage}). {consequence}",
                stacklevel=3,
            )
        return damage is not None
