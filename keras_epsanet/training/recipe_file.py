"""The `recipe.json` of a training, which also tells what was trained."""

import dataclasses
import enum
import json
import os

from keras_epsanet import storage

FILE = "recipe.json"


class Trained(enum.Enum):
    """What was trained, by its name in messages."""

    DETECTOR = "a detector"
    CLASSIFIER = "a classifier"
    IMAGENET = "a classifier of ImageNet"


CLASSIFIERS = (Trained.CLASSIFIER, Trained.IMAGENET)
# Fields that only the recipes of one kind have, the most certain first.
_FIELDS = {
    "detector": Trained.DETECTOR,
    "flip": Trained.CLASSIFIER,
    "antialias": Trained.IMAGENET,
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
        raise _of_another_kind(os.path.dirname(path) or ".", ours, theirs)
    return kind.from_json(text)


def check_trained(run, *allowed):
    """Raises if a folder is the run of something else.

    Args:
        run: Folder, which need not be that of a training.
        *allowed: `Trained`, one or more; the first is named in the message.

    Raises:
        ValueError: If it is.
    """
    trained = trained_in(run)
    if trained not in (None, *allowed):
        raise _of_another_kind(run, allowed[0], trained)


def trained_in(run):
    """Returns what was trained in a folder.

    Args:
        run: Folder, which need not be that of a training.

    Returns:
        `Trained`, or `None` if its recipe does not tell, or there is none.
    """
    path = os.path.join(run, FILE)
    if not storage.isfile(path):
        return None
    with storage.open_file(path, encoding="utf-8") as file:
        return _trained(_names(file.read()))


def _of_another_kind(run, wanted, trained):
    return ValueError(
        f"{run} must be the run of {wanted.value}. "
        f"Received: that of {trained.value}"
    )


def _names(text):
    """The names of the options in a recipe's text, none in another text."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError:
        return set()
    return set(values) if isinstance(values, dict) else set()


def _trained(names):
    return next((_FIELDS[name] for name in _FIELDS if name in names), None)
