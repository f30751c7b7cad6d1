"""How a training goes on: with the recipe of its folder, or more epochs."""

import dataclasses
import os

from keras_epsanet.distribution.workers import gather_objects
from keras_epsanet.training import teacher
from keras_epsanet.training.checkpoints import find_steps
from keras_epsanet.training.recipe_file import FILE, read_recipe_file
from keras_epsanet.training.run_folder import FOLDER, RunFolder


def read_recipe(path, kind):
    """Reads the recipe of the training in a folder.

    Args:
        path: Folder of the training; it need not exist.
        kind: Class of the recipe.

    Returns:
        Recipe of this class, or `None` if there is no training.

    Raises:
        ValueError: If it is a recipe of another class.
    """
    try:
        return read_recipe_file(os.path.join(path, FILE), kind)
    except (FileNotFoundError, NotADirectoryError):
        return None


def has_checkpoints(path):
    """Whether a training in a folder has something to go on from.

    Args:
        path: Folder of the training; it need not exist.
    """
    return bool(find_steps(os.path.join(path, FOLDER)))


def resume_recipe(path, theirs, arguments, may_change=()):
    """Decides with what a training goes on.

    Options that are not given are those of the training. The number of
    epochs can be raised, and the teacher given by another path.

    Args:
        path: Folder of the training, for messages.
        theirs: Recipe of the training.
        arguments: What a parser with `add_options` returned.
        may_change: Names of further fields that may have another value.

    Returns:
        Recipe of the same class.

    Raises:
        ValueError: If another option differs, or the epochs are less.

    Example:

    >>> import argparse
    >>> from keras_epsanet.training import COCO
    >>> longer = argparse.Namespace(epochs=24)
    >>> resume_recipe("runs/detector", COCO, longer).epochs
    24
    """
    if getattr(arguments, "epochs", theirs.epochs) < theirs.epochs:
        raise ValueError(
            f"{path} belongs to a training of {theirs.epochs} epochs, which "
            "can only be raised. Take another folder for a shorter one. "
            f"Received: epochs={arguments.epochs}"
        )
    recipe = theirs.with_options(arguments)
    names = ("epochs", *may_change)
    changed = {name: getattr(theirs, name) for name in names}
    differences = dataclasses.replace(recipe, **changed).differences(
        teacher.respelled(path, theirs, recipe)
    )
    if differences:
        others = "".join(f" and `{name}` changed" for name in may_change)
        raise ValueError(
            f"{path} belongs to a training with other options, of which only "
            f"`epochs` can be raised{others}. Take another folder. "
            f"Received: {'; '.join(differences)}"
        )
    return recipe


def check_same_step(path, state, strategy):
    """Raises unless all workers go on from the same checkpoint.

    Args:
        path: Folder of the training.
        state: `State` that `RunFolder.restore` returned.
        strategy: What `keras_epsanet.distribution.make_strategy` returned.

    Raises:
        ValueError: In all workers, if one sees other checkpoints.
    """
    steps = gather_objects(state.step, strategy)
    if len(set(steps)) > 1:
        raise ValueError(
            "All workers must see the same folder, and go on from the same "
            f"checkpoint in it. Received: {path}, with the checkpoints of "
            f"the steps {', '.join(map(str, steps))}"
        )


def open_run(path, recipe, keep=3, is_chief=True):
    """Opens the folder of a training, which may have been a shorter one.

    Args:
        path: Folder. It is made if need be.
        recipe: Recipe that `resume_recipe` returned, or that of a new
            training.
        keep, is_chief: As in `RunFolder`.

    Returns:
        `RunFolder`, whose recipe is `recipe`; `recipe.json` is that of the
        shorter training until `restore` has found that it can go on.

    Raises:
        ValueError: As of `RunFolder`.
    """
    theirs = read_recipe(path, type(recipe))
    run = RunFolder(path, theirs or recipe, keep=keep, is_chief=is_chief)
    run.recipe = recipe
    return run
