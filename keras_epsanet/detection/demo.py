"""A short training on composed scenes: its recipes and its data."""

import dataclasses
import json

from keras_epsanet import atomic, storage, training
from keras_epsanet.data import scenes
from keras_epsanet.data.coco.layouts import find_parts
from keras_epsanet.detection.sources import open_annotations

# On few small scenes, from a small network's weights, for which the paper's
# SGD is too slow.
SCENES = training.CocoRecipe(
    image_size=192,
    longer_side=192,
    batch_size=4,
    optimizer="adam",
    learning_rate=0.002,
    schedule="cosine",
    epochs=3,
    warm_up_epochs=0.1,
    warm_up_steps=None,
    clipnorm=10.0,
    num_samples=64,
    freeze_stages=0,
    norm_eval=False,
)
NUM_SCENES, NUM_HELD_OUT = 1600, 200
# MMDetection's start of the heads suits trainings a hundred times as long.
SCENES_RETINANET = {"head_initializer": "he_normal"}
# Faster and Mask R-CNN: the same rate for smaller batches, each scene once.
SCENES_RCNN = {"batch_size": 2, "learning_rate": 0.004, "epochs": 1}
NUM_SCENES_RCNN = 2400


def scenes_recipe(detector="retinanet", library="keras_epsanet"):
    """The recipe of a training on scenes.

    Args:
        detector, library: As in `CocoRecipe`.

    Returns:
        `CocoRecipe`.

    Raises:
        ValueError: If the library has no such detector.

    Example:

    >>> scenes_recipe("mask_rcnn").batch_size
    2
    """
    changes = {}
    if detector != "retinanet":
        changes = SCENES_RCNN
    elif library == "keras_epsanet":
        changes = SCENES_RETINANET
    return dataclasses.replace(
        SCENES, detector=detector, library=library, **changes
    )


def open_scenes(path, recipe, number=None):
    """Opens the scenes of a training, and composes them if there are none.

    Args:
        path: Folder of the scenes; it need not exist.
        recipe: `CocoRecipe`.
        number: Integer, scenes to train with; `None` for those that are
            there, or as many as the detector needs.

    Returns:
        Dictionary of the `keras_epsanet.data.coco.Annotations` `"train"` and
        `"val"`.

    Raises:
        ValueError: If the folder holds other scenes.
    """
    if not atomic.is_whole(path) and not _has_all(path):
        # Half of them, in a storage.
        atomic.remove_folder(path)
        count = number
        if count is None:
            is_rcnn = recipe.detector != "retinanet"
            count = NUM_SCENES_RCNN if is_rcnn else NUM_SCENES
        print(f"Composing {count:,} scenes in {path}", flush=True)
        held_out = min(count, NUM_HELD_OUT)
        scenes.write(path, count, held_out, recipe.image_size)
    annotations = open_annotations(path, path)
    images = annotations["train"].images
    theirs = len(images), images[0].height
    ours = number or len(images), recipe.image_size
    if ours != theirs:
        raise ValueError(
            f"{path} holds other scenes. Remove it, or take another folder. "
            f"Received: {ours[0]} scenes of {ours[1]} pixels, not "
            f"{theirs[0]} of {theirs[1]}"
        )
    return annotations


def _has_all(path):
    """Whether a folder has all scenes, as a copy without the last file has."""
    if not storage.isdir(path):
        return False
    found = find_parts(path)
    if not {"train", "val"} <= set(found):
        return False
    for file, images in found.values():
        try:
            with storage.open_file(file, encoding="utf-8") as stream:
                listed = json.load(stream)["images"]
            names = {image["file_name"] for image in listed}
            if not names <= set(storage.listdir(images)):
                return False
        except (FileNotFoundError, KeyError, TypeError, ValueError):
            return False
    return True
