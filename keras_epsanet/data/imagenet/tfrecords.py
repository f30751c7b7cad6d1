"""Turns a folder tree of images into shards of TFRecords.

    python -m keras_epsanet.data.imagenet.tfrecords SOURCE OUTPUT

SOURCE has the folders `train` and `val` and in each a sub-folder for every
class. OUTPUT gets `train-00000-of-01024.tfrecord` and so on, and at the end
`dataset.json` with the names of the classes, the number of records of every
shard, where they stand, and the files that could not be decoded. The order is
mixed. A run that was interrupted goes on where it was when it is started
again, if the images are still the same.

The records have TensorFlow's names: `image/encoded`, a JPEG,
`image/class/label`, from 0 on, `image/class/text`, the folder of the class,
and `image/filename`. Gray and color JPEGs are taken over byte by byte, what
is in CMYK or another format becomes an RGB JPEG.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import random
import sys

from keras_epsanet import storage
from keras_epsanet.atomic import remove_unfinished, write_file
from keras_epsanet.data.bad_images import QUALITY, check_share
from keras_epsanet.data.file_names import printable
from keras_epsanet.data.imagenet.shard_writer import write_shards
from keras_epsanet.data.imagenet.splits import (
    INDEX,
    SPLITS,
    UNFINISHED,
    find_index,
    list_shards,
    list_tree,
    shard_name,
)


def convert(
    source,
    output,
    train_shards=1024,
    val_shards=128,
    seed=0,
    quality=QUALITY,
    workers=None,
):
    """Writes the images of a folder tree as shards of TFRecords.

    The same arguments give the same bytes, whatever the number of workers
    and however often the conversion was interrupted: a shard appears under
    its name when it is complete, and then stays. Images that cannot be
    decoded are left out and listed in `dataset.json`.

    Args:
        source: Folder with `train`, `val` and a sub-folder in each for every
            class.
        output: Folder for the shards; made if need be.
        train_shards, val_shards: Integers, number of shards, or if there are
            less images the number of those.
        seed: Integer, decides the order.
        quality: Integer from 1 to 100, quality of the images that have to be
            encoded anew.
        workers: Integer, number of processes; `None` for one for each core.

    Returns:
        The dictionary that is written to `dataset.json`.

    Raises:
        ValueError: If an argument is out of range, `source` is no such
            folder, `output` holds the shards of another conversion or
            another program's `dataset.json`, images have changed since the
            conversion began, which their sizes and times tell, a shard of a
            finished conversion is missing, or more than 1 % of the images of
            a split, and more than three, cannot be decoded.
        OSError: If a shard cannot be written, such as on a full disk.
    """
    _check("train_shards", train_shards, 99_999)
    _check("val_shards", val_shards, 99_999)
    _check("quality", quality, 100)
    class_names, files, left_out = list_tree(os.fspath(source), converting=True)
    shards = _plan(files, {"train": train_shards, "val": val_shards}, seed)
    plan = _digest(source, class_names, shards, quality)
    index = find_index(output)
    if index is not None:
        _check_plan(index["plan"], plan, output)
        list_shards(output, index)  # Raises if one is missing.
        return index
    if storage.exists(os.path.join(output, INDEX)):
        raise ValueError(
            f"`output` must not hold another program's {INDEX}. "
            f"Received: output={printable(output)}"
        )
    unfinished = os.path.join(output, UNFINISHED)
    _start(unfinished, plan, output)
    tasks = [
        (source, output, name, entries, class_names, quality)
        for name, entries in shards.items()
    ]
    results = write_shards(tasks, workers or os.cpu_count())
    index = {"class_names": class_names, "plan": plan, "left_out": left_out}
    for split in SPLITS:
        of_split = [results[x] for x in shards if x.startswith(split)]
        index.update(_describe(split, of_split))
        check_share(index[f"{split}_bad"], len(files[split]))
    if _digest(source, class_names, shards, quality) != plan:
        raise ValueError(
            "The images must not change while they are converted. "
            f"Received: source={printable(source)}"
        )
    write_file(os.path.join(output, INDEX), json.dumps(index, indent=1))
    storage.rmtree(unfinished)
    return index


def _check(name, value, most):
    if not 1 <= value <= most:
        raise ValueError(
            f"`{name}` must be an integer from 1 to {most}. "
            f"Received: {name}={value}"
        )


def _describe(split, results):
    """What `dataset.json` says of the shards of a split."""
    described = {
        split: [result["records"] for result in results],
        f"{split}_blocks": [result["blocks"] for result in results],
    }
    for key in ("bad", "encoded_anew"):
        names = sum((result[key] for result in results), [])
        described[f"{split}_{key}"] = sorted(names)
    return described


def _plan(files, numbers, seed):
    """Dictionary from the names of the shards to their files and classes."""
    shards = {}
    for split in SPLITS:
        entries = list(files[split])
        random.Random(seed).shuffle(entries)
        count = min(numbers[split], len(entries))
        for i in range(count):
            begin, end = (len(entries) * k // count for k in (i, i + 1))
            shards[shard_name(split, i, count)] = entries[begin:end]
    return shards


def _digest(source, class_names, shards, quality):
    """What tells a conversion from others, wherever the source lies.

    Contents are told by size and time, for to read all takes too long.
    """

    def describe(file):
        size, changed = storage.stat(file)
        return os.path.relpath(file, source), size, int(changed)

    described = {
        shard: [describe(file) for file, _ in entries]
        for shard, entries in shards.items()
    }
    plan = json.dumps([class_names, described, quality])
    return hashlib.sha256(plan.encode()).hexdigest()


def _start(unfinished, plan, output):
    """Remembers the plan, or compares it with that of an interrupted run."""
    storage.makedirs(unfinished, exist_ok=True)
    path = os.path.join(unfinished, "plan.json")
    if storage.exists(path):
        with storage.open_file(path, encoding="utf-8") as file:
            _check_plan(json.load(file), plan, output)
    else:
        write_file(path, json.dumps(plan, indent=1))
    for folder in (output, unfinished):
        remove_unfinished(folder)


def _check_plan(found, plan, output):
    if found != plan:
        raise ValueError(
            "`output` must be empty or hold shards of the same images, by "
            "name, size and time, and of the same arguments. "
            f"Received: output={printable(output)}"
        )


def main(arguments=None, program="tfrecords"):
    """Runs the command.

    Args:
        arguments: List of strings; `None` for those of the process.
        program: Name of the command in messages.

    Raises:
        SystemExit: With a message if the images cannot be converted.
    """
    args = _parse(arguments, program)
    try:
        index = convert(**vars(args))
    except (OSError, ValueError, concurrent.futures.BrokenExecutor) as error:
        sys.exit(f"{program}: {error}")
    for split in SPLITS:
        bad = index[f"{split}_bad"]
        print(
            f"{split}: {sum(index[split]):,} images in {len(index[split])} "
            f"shards, {len(index[f'{split}_encoded_anew'])} encoded anew, "
            f"{len(bad)} bad{': ' if bad else ''}{', '.join(bad)}"
        )
    for reason, number in index["left_out"].items():
        print(f"left out: {number:,} files ({reason})")


def _parse(arguments, program):
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog=program,
        description="Turns a folder tree of images into shards of TFRecords.",
        usage="%(prog)s [options] SOURCE OUTPUT",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="folder with train and val, and a folder for each class in both",
    )
    parser.add_argument(
        "output", metavar="OUTPUT", help="folder for the shards"
    )
    for name, default, what in (
        ("train-shards", 1024, "files for the images of train"),
        ("val-shards", 128, "files for the images of val"),
        ("seed", 0, "seed of the order of the images"),
        (
            "quality",
            QUALITY,
            "JPEG quality, 1 to 100, of images that are no RGB or gray JPEGs "
            "and are encoded anew",
        ),
        ("workers", None, "processes that work at a time"),
    ):
        shown = "one for each core" if default is None else default
        parser.add_argument(
            f"--{name}",
            type=int,
            metavar="N",
            default=default,
            help=f"{what} (default: {shown})",
        )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
