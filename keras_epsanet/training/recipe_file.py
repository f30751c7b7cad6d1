"""The `recipe.json` of a training, which also tells what was trained."""

import dataclasses
import json
import os

from keras_epsanet import storage

FILE = "recipe.json"
# Fields that only the recipes of one kind have, the most certain first.
_TRAINED = {
    "detector": "a detector",
    "flip": "a classifier",
    "antialias": "a classifier of ImageNet",
}


def read_recipe_file(path, kind):
    """Reads the recipe of a training.

    Args:
        path: Path of the file, `RUN/recipe.json`.
        kind: Class of the recipe.

    Returns:
        Recipe of this class.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is a recipe of another class, or none.
    """
    with storage.open_file(path, encoding="utf-8") as file:
        text = file.read()
    theirs = _trained(_names(text))
    ours = _trained({field.name for field in dataclasses.fields(kind)})
    if None not in (theirs, ours) and theirs != ours:
        raise ValueError(
            f"{os.path.dirname(path) or '.'} is the run of {theirs}; it must "
            f"be that of {ours}"
        )
    return kind.from_json(text)


def check_trained(run, allowed):
    """Raises if a folder is the run of something else.

    Args:
        run: Folder, which need not be that of a training.
        allowed: String, `"a detector"` or `"a classifier"`, whatever its
            images.

    Raises:
        ValueError: If it is.
    """
    trained = trained_in(run)
    if trained is not None and not trained.startswith(allowed):
        raise ValueError(
            f"{run} is the run of {trained}; it must be that of {allowed}"
        )


def trained_in(run):
    """Returns what was trained in a folder.

    Args:
        run: Folder, which need not be that of a training.

    Returns:
        `"a detector"`, `"a classifier"`, `"a classifier of ImageNet"`, or
        `None` if its recipe does not tell, or there is none.
    """
    path = os.path.join(run, FILE)
    if not storage.isfile(path):
        return None
    with storage.open_file(path, encoding="utf-8") as file:
        return _trained(_names(file.read()))


def _names(text):
    """The names of the options in a recipe's text, none in another text."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError:
        return set()
    return set(values) if isinstance(values, dict) else set()


def _trained(names):
    return next((_TRAINED[name] for name in _TRAINED if name in names), None)
