"""The folder of a classifier's training: what goes on, and the results."""

import dataclasses
import json
import os

from keras_epsanet import storage, training
from keras_epsanet.atomic import write_file
from keras_epsanet.training import resume, trained_start
from keras_epsanet.training.early_end import best_epoch

# What a training that is under way, or finished, can be given anew besides
# more epochs.
MAY_CHANGE = ("patience",)
RESULTS = (
    "model.keras",
    "curves.png",
    "predictions.png",
    "confusion.png",
    "confusion.csv",
    "classes.csv",
)


def choose_recipe(path, arguments, fine_tuning=False):
    """Decides what a training does: the command line, the folder, defaults.

    Options that are not given are those of the training in the folder. A new
    training takes the defaults, with a warm-up over a tenth of its epochs;
    for a trained start they are as `trained_start.adapt_recipe` says.

    Args:
        path: Folder of the training; it need not exist.
        arguments: What a parser with `ClassifierRecipe.add_options` returned.
        fine_tuning: Whether the training starts with trained weights.

    Returns:
        `ClassifierRecipe`.

    Raises:
        ValueError: If an option is not that of the training in the folder,
            or its number of epochs is smaller.
    """
    theirs = read_recipe(path)
    if theirs is None:
        return _new_recipe(arguments, fine_tuning)
    return resume.resume_recipe(path, theirs, arguments, MAY_CHANGE)


def read_recipe(path):
    """Returns the `ClassifierRecipe` of the training in a folder, or `None`.

    Args:
        path: Folder of the training; it need not exist.
    """
    return resume.read_recipe(path, training.ClassifierRecipe)


def _new_recipe(arguments, fine_tuning):
    recipe = training.ClassifierRecipe().with_options(arguments)
    if fine_tuning:
        return trained_start.adapt_recipe(recipe, arguments)
    if not hasattr(arguments, "warm_up_epochs"):
        recipe = dataclasses.replace(recipe, warm_up_epochs=0.1 * recipe.epochs)
    return recipe


def check_same_images(path, images):
    """Raises if the training in a folder saw other images.

    Args:
        path: Folder of the training; it need not exist.
        images: `Images`.

    Raises:
        ValueError: If their classes or their numbers are others.
    """
    theirs = _read(path, "images.json")
    if theirs is None:
        return
    theirs, ours = json.loads(theirs), images.describe()
    differences = [
        f"{name}: {ours[name]}, not {theirs[name]}"
        for name in ("class_names", "train", "held_out")
        if ours[name] != theirs[name]
    ]
    if differences:
        raise ValueError(
            f"{path} belongs to a training on other images "
            f"({theirs['source']}). Take another folder. "
            f"Received: {images.source} with {'; '.join(differences)}"
        )


def open_run(path, recipe):
    """Opens the folder of a training, which may have been a shorter one.

    Args:
        path: Folder of the training. It is made if need be.
        recipe: `ClassifierRecipe` that `choose_recipe` returned.

    Returns:
        `RunFolder`.
    """
    # One checkpoint and the best: each takes hundreds of megabytes.
    return resume.open_run(path, recipe, keep=1)


def note_images(run, images):
    """Writes what `check_same_images` compares with next time.

    Args:
        run: `RunFolder`, which nothing refuses any more.
        images: `Images`.
    """
    description = json.dumps(images.describe(), indent=1) + "\n"
    write_file(os.path.join(run.path, "images.json"), description)


def write_results(run, state, results, agreeing):
    """Writes `results.json`, the last file of a training.

    Args:
        run: `RunFolder`.
        state: `State` at the end.
        results: `Results` of the saved model.
        agreeing: List of strings, the ways to run it that were compared.
    """
    content = {
        "epochs": state.epoch,
        "best_epoch": best_epoch(state),
        **results.summary(),
        "compared": agreeing,
        "recipe": dataclasses.asdict(run.recipe),
    }
    text = json.dumps(content, indent=1) + "\n"
    write_file(os.path.join(run.path, "results.json"), text)


def finished_results(path, recipe):
    """Reads the results of a finished training.

    Args:
        path: Folder of the training; it need not exist.
        recipe: `ClassifierRecipe`.

    Returns:
        Dictionary that `write_results` wrote, or `None` if the training with
        this recipe is not finished or one of its files is missing.
    """
    text = _read(path, "results.json")
    if text is None:
        return None
    content = json.loads(text)
    ours = json.loads(json.dumps(dataclasses.asdict(recipe)))
    # By whatever path: `choose_recipe` has compared it.
    ours["teacher"] = content["recipe"].get("teacher")
    missing = [x for x in RESULTS if not storage.exists(f"{path}/{x}")]
    return content if content["recipe"] == ours and not missing else None


def _read(path, name):
    try:
        with storage.open_file(os.path.join(path, name)) as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
