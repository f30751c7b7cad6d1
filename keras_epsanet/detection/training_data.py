"""Keeps a detector's training to the data that it began with."""

import json
import os

from keras_epsanet import storage
from keras_epsanet.atomic import sha256, write_file

FILE = "data.json"


def check_same_data(path, annotations):
    """Raises if the training in a folder learns from other data.

    Args:
        path: Folder of the training; it need not exist.
        annotations: Dictionary of the `keras_epsanet.data.coco.Annotations`
            of each part.

    Raises:
        ValueError: If the classes or the annotation files are others.
    """
    file = os.path.join(path, FILE)
    if not storage.isfile(file):
        return
    with storage.open_file(file, encoding="utf-8") as stream:
        theirs = json.load(stream)
    ours = _describe(annotations)
    if ours == theirs:
        return
    for name, part in ours.items():
        before = theirs.get(name)
        if part != before:
            raise ValueError(
                f"{path} belongs to a training on other data. Take another "
                f"folder. Received: {name}={part}, not {before}"
            )


def note_data(path, annotations):
    """Writes what `check_same_data` compares with next time.

    Args:
        path: Folder of the training.
        annotations: As in `check_same_data`.
    """
    text = json.dumps(_describe(annotations), indent=1, ensure_ascii=False)
    write_file(os.path.join(path, FILE), text + "\n")


def _describe(annotations):
    """Classes, and the number of images and the file's digest of each part."""
    return {
        "class_names": list(annotations["train"].class_names),
        **{
            part: {"images": len(each.images), "sha256": sha256(each.path)}
            for part, each in annotations.items()
        },
    }
