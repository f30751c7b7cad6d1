"""Lists the images or the shards of a training and a validation split."""

import collections
import concurrent.futures
import json
import os

from keras_epsanet import storage
from keras_epsanet.data.class_folders import list_class_files
from keras_epsanet.data.file_names import printable

SPLITS = ("train", "val")
# Of the image and of its class.
FEATURES = ("image/encoded", "image/class/label")
INDEX = "dataset.json"
# Folder of what an unfinished conversion has to remember.
UNFINISHED = "unfinished"
# Shards that are asked for at a time, which a storage takes long to answer.
_CHECKED = 16


def list_tree(path, converting=False):
    """Lists a folder with `train` and `val` and sub-folders for the classes.

    Args:
        path: Folder.
        converting: Whether it is to be converted, so that it must hold
            folders.

    Returns:
        The names of the classes; a dictionary from `"train"` and `"val"` to
        lists of pairs, a path and the number of its class; and a dictionary
        from the reasons for which files were left out to how many there were.

    Raises:
        ValueError: If it is no such folder or the classes differ.
    """
    if not all(storage.isdir(os.path.join(path, split)) for split in SPLITS):
        _refuse(path, converting)
    names, files, left_out = {}, {}, collections.Counter()
    for split in SPLITS:
        folder = os.path.join(path, split)
        names[split], of_class, ignored = list_class_files(folder)
        left_out.update(ignored)
        files[split] = [
            (file, label)
            for label, name in enumerate(names[split])
            for file in of_class[name]
        ]
    if names["train"] != names["val"]:
        differing = sorted(set(names["train"]) ^ set(names["val"]))
        raise ValueError(
            "train and val must have the same classes. "
            f"Received: path={printable(path)}, in one only: "
            f"{', '.join(differing[:10])}"
        )
    return names["train"], files, dict(left_out)


def _refuse(path, converting):
    """Says what a path must be, and what it is instead."""
    reason = ""
    if not storage.isdir(path):
        is_file = storage.exists(path)
        reason = ", which is a file" if is_file else ", which does not exist"
    elif storage.isdir(os.path.join(path, UNFINISHED)):
        reason = ", a conversion that was not finished: start it again"
    elif converting and find_index(path) is not None:
        reason = ", which is converted already"
    elif storage.exists(os.path.join(path, INDEX)):
        reason = f", whose {INDEX} is of another kind"
    name = "path"
    others = ', one that keras_epsanet.data.imagenet.tfrecords wrote, or "tfds"'
    if converting:
        name = "source"
        others = ", and in both a folder of images for each class"
    raise ValueError(
        f"`{name}` must be a folder with the folders train and val{others}. "
        f"Received: {name}={printable(path)}{reason}"
    )


def find_index(path):
    """Reads the index of a finished conversion.

    Args:
        path: Folder.

    Returns:
        The dictionary that `convert` wrote to `dataset.json`, or `None` if
        there is no such file or another program's.
    """
    try:
        with storage.open_file(
            os.path.join(path, INDEX), encoding="utf-8"
        ) as file:
            index = json.load(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if not isinstance(index, dict) or not isinstance(index.get("plan"), str):
        return None
    kinds = {"class_names": str} | dict.fromkeys(SPLITS, int)
    for key, kind in kinds.items():
        values = index.get(key)
        if not isinstance(values, list) or not values:
            return None
        if not all(isinstance(value, kind) for value in values):
            return None
    return index


def list_shards(path, index):
    """Lists the shards of a finished conversion.

    Args:
        path: Folder that `convert` wrote.
        index: What `find_index` returned.

    Returns:
        The names of the classes and three dictionaries from `"train"` and
        `"val"`: to the paths of the shards, to their numbers of records, and
        to their blocks, or to `None` if a former version wrote the index.

    Raises:
        ValueError: If a shard is missing or has another size.
    """
    lengths = {split: index[split] for split in SPLITS}
    blocks = {split: index.get(f"{split}_blocks") for split in SPLITS}
    files = {
        split: [
            os.path.join(path, shard_name(split, i, len(lengths[split])))
            for i in range(len(lengths[split]))
        ]
        for split in SPLITS
    }
    with concurrent.futures.ThreadPoolExecutor(_CHECKED) as pool:
        for split in SPLITS:
            expected = blocks[split] or [None] * len(files[split])
            list(pool.map(_check_shard, files[split], expected))
    return index["class_names"], files, lengths, blocks


def _check_shard(file, blocks):
    try:
        size = storage.getsize(file)
    except (FileNotFoundError, NotADirectoryError):
        size = None
    expected = sum(n for _, n in blocks) if blocks is not None else size
    if size is None or size != expected:
        raise ValueError(
            f"A shard must be there as it was written. Received: "
            f"{printable(file)} "
            + ("is missing" if size is None else f"of {size} bytes")
        )


def shard_name(split, number, count):
    """Name of a shard's file, such as `val-00000-of-00128.tfrecord`."""
    return f"{split}-{number:05}-of-{count:05}.tfrecord"
