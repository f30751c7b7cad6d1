"""Lists the images or the shards of a training and a validation split."""

import json
import os

from keras_epsanet.data.image_folder import list_files

SPLITS = ("train", "val")
# Of the image and of its class.
FEATURES = ("image/encoded", "image/class/label")
INDEX = "dataset.json"
# Folder of what an unfinished conversion has to remember.
UNFINISHED = "unfinished"


def list_tree(path):
    """Lists a folder with `train` and `val` and sub-folders for the classes.

    Args:
        path: Folder.

    Returns:
        The names of the classes and a dictionary from `"train"` and `"val"`
        to lists of pairs: a path and the number of its class.

    Raises:
        ValueError: If it is no such folder or the classes differ.
    """
    if not all(os.path.isdir(os.path.join(path, split)) for split in SPLITS):
        reason = ""
        if os.path.isdir(os.path.join(path, UNFINISHED)):
            reason = ", a conversion that was not finished: start it again"
        raise ValueError(
            "`path` must be a folder with the folders train and val, one "
            'that keras_epsanet.data.tfrecords wrote, or "tfds". '
            f"Received: path={path}{reason}"
        )
    names, files = {}, {}
    for split in SPLITS:
        folder = os.path.join(path, split)
        names[split], of_class = list_files(folder)
        files[split] = [
            (file, label)
            for label, name in enumerate(names[split])
            for file in of_class[name]
        ]
    if names["train"] != names["val"]:
        differing = sorted(set(names["train"]) ^ set(names["val"]))
        raise ValueError(
            "train and val must have the same classes. "
            f"Received: path={path}, in one only: {', '.join(differing[:10])}"
        )
    return names["train"], files


def is_converted(path):
    """Whether a folder holds the shards of a finished conversion."""
    return os.path.isfile(os.path.join(path, INDEX))


def read_index(path):
    """Lists the shards of a finished conversion.

    Args:
        path: Folder that `convert` wrote.

    Returns:
        The names of the classes and two dictionaries from `"train"` and
        `"val"`: to the paths of the shards and to their numbers of records.

    Raises:
        ValueError: If a shard is missing.
    """
    with open(os.path.join(path, INDEX), encoding="utf-8") as file:
        index = json.load(file)
    lengths = {split: index[split] for split in SPLITS}
    files = {
        split: [
            os.path.join(path, shard_name(split, i, len(lengths[split])))
            for i in range(len(lengths[split]))
        ]
        for split in SPLITS
    }
    for file in files["train"] + files["val"]:
        if not os.path.isfile(file):
            raise ValueError(
                f"A shard is missing. Received: path={path}, without "
                f"{os.path.basename(file)}"
            )
    return index["class_names"], files, lengths


def shard_name(split, number, count):
    """Name of a shard's file, such as `val-00000-of-00128.tfrecord`."""
    return f"{split}-{number:05}-of-{count:05}.tfrecord"
