"""The teacher of a training, which is the same when the training goes on.

It is known by its contents: a file may be found by another path, moved or
copied, but one that was replaced would teach something else.
"""

import dataclasses
import json
import os

from keras_epsanet import storage
from keras_epsanet.atomic import sha256, write_file
from keras_epsanet.training.trained_start import check_source
from keras_epsanet.weights.public_resnets import full_name, is_public_name

# Says in the folder of a training what it learns from.
NOTE = "teacher.json"


def check_same(path, teacher):
    """Raises if the teacher of the training in a folder was another one.

    Args:
        path: Folder of the training; it need not exist.
        teacher: Path or name of a public file.

    Raises:
        ValueError: If there is no such teacher, or its contents are others.
    """
    check_source(teacher, "--teacher")
    noted = _read(path)
    if noted is not None and noted["contents"] != _contents(teacher):
        raise ValueError(
            f"{path} belongs to a training with another --teacher, "
            f"{noted['teacher']}. Give that file, wherever it is now, or take "
            f"another folder. Received: --teacher {teacher}, whose contents "
            "are others"
        )


def respelled(path, theirs, ours):
    """Gives a recipe the other's path of a teacher, if it is the same one.

    Args:
        path: Folder of the training of `theirs`.
        theirs, ours: Recipes of the same class.

    Returns:
        `theirs`, or a copy with the `teacher` of `ours`.
    """
    pair = [getattr(recipe, "teacher", None) for recipe in (theirs, ours)]
    if None in pair or pair[0] == pair[1]:
        return theirs
    noted = _read(path)
    before = noted["contents"] if noted is not None else _contents(pair[0])
    if before is None or before != _contents(pair[1]):
        return theirs
    return dataclasses.replace(theirs, teacher=pair[1])


def note(path, recipe):
    """Writes into the folder of a training what it learns from, once.

    Args:
        path: Folder of the training.
        recipe: `Recipe`.
    """
    teacher = getattr(recipe, "teacher", None)
    contents = None if teacher is None else _contents(teacher)
    if contents is None or _read(path) is not None:
        return
    content = {"teacher": teacher, "contents": contents}
    write_file(os.path.join(path, NOTE), json.dumps(content, indent=1) + "\n")


def _contents(teacher):
    """What is the same for every spelling; `None` if there is no such file."""
    if is_public_name(teacher):
        return full_name(teacher)
    return f"sha256 {sha256(teacher)}" if storage.isfile(teacher) else None


def _read(path):
    try:
        with storage.open_file(os.path.join(path, NOTE)) as file:
            return json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
