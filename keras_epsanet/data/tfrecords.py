"""Turns a folder tree of images into shards of TFRecords.

    python -m keras_epsanet.data.tfrecords SOURCE OUTPUT

SOURCE has the folders `train` and `val` and in each a sub-folder for every
class. OUTPUT gets `train-00000-of-01024.tfrecord` and so on, and at the end
`dataset.json` with the names of the classes, the number of records of every
shard and the files that could not be decoded. The order is mixed. A run that
was interrupted goes on where it was when it is started again.

The records have TensorFlow's names: `image/encoded`, a JPEG,
`image/class/label`, from 0 on, `image/class/text`, the folder of the class,
and `image/filename`. Grey and colour JPEGs are taken over byte by byte, what
is in CMYK or another format becomes an RGB JPEG.
"""

import argparse
import concurrent.futures
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import sys
import threading

import keras

from keras_epsanet.data.bad_images import ALLOWED, QUALITY, as_jpeg
from keras_epsanet.data.splits import (
    FEATURES,
    INDEX,
    SPLITS,
    UNFINISHED,
    is_converted,
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
        ValueError: If `source` is no such folder, `output` holds the shards
            of another conversion, or more than 1 % of the images of a split,
            and more than three, cannot be decoded.
        OSError: If a shard cannot be written, such as on a full disk.
    """
    class_names, files = list_tree(os.fspath(source))
    shards = _plan(files, {"train": train_shards, "val": val_shards}, seed)
    plan = _digest(source, class_names, shards, quality)
    if is_converted(output):
        with open(os.path.join(output, INDEX), encoding="utf-8") as file:
            index = json.load(file)
        _check_plan(index["plan"], plan, output)
        return index
    unfinished = os.path.join(output, UNFINISHED)
    _start(unfinished, plan, output)
    tasks = [
        (source, output, name, entries, class_names, quality)
        for name, entries in shards.items()
    ]
    results = _write_shards(tasks, workers or os.cpu_count())
    index = {"class_names": class_names, "plan": plan}
    for split in SPLITS:
        of_split = [results[x] for x in shards if x.startswith(split)]
        index[split] = [result["records"] for result in of_split]
        index[f"{split}_bad"] = sorted(sum((x["bad"] for x in of_split), []))
        index[f"{split}_encoded_anew"] = sorted(
            sum((x["encoded_anew"] for x in of_split), [])
        )
        _check_bad(index[f"{split}_bad"], len(files[split]))
    _write_json(os.path.join(output, INDEX), index)
    shutil.rmtree(unfinished)
    return index


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
    """What tells a conversion from others, wherever the source lies."""
    names = {
        shard: [os.path.relpath(file, source) for file, _ in entries]
        for shard, entries in shards.items()
    }
    plan = json.dumps([class_names, names, quality])
    return hashlib.sha256(plan.encode()).hexdigest()


def _start(unfinished, plan, output):
    """Remembers the plan, or compares it with that of an interrupted run."""
    os.makedirs(unfinished, exist_ok=True)
    path = os.path.join(unfinished, "plan.json")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            _check_plan(json.load(file), plan, output)
    else:
        _write_json(path, plan)
    for folder in (output, unfinished):
        for name in os.listdir(folder):
            if name.endswith(".temporary"):
                os.remove(os.path.join(folder, name))


def _check_plan(found, plan, output):
    if found != plan:
        raise ValueError(
            "`output` holds the shards of other images or other arguments. "
            f"Received: output={output}"
        )


def _check_bad(bad, num_images):
    if len(bad) > max(ALLOWED, num_images // 100):
        raise ValueError(
            f"More than 1 % of the images are bad: {len(bad)} of "
            f"{num_images}, such as {', '.join(bad[:5])}"
        )


def _write_shards(tasks, workers):
    """Writes the shards that are not there and returns what is in all."""
    advance = _progress_bar(len(tasks))
    results = {}
    if workers == 1:
        for task in tasks:
            results[task[2]] = _write_shard(*task)
            advance(1)
        return results
    # Not forked, which TensorFlow's threads would not survive.
    pool = concurrent.futures.ProcessPoolExecutor(
        min(workers, len(tasks)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_end_with_parent,
    )
    with pool:
        futures = {pool.submit(_write_shard, *task): task[2] for task in tasks}
        try:
            for future in concurrent.futures.as_completed(futures):
                results[futures[future]] = future.result()
                advance(1)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return results


def _progress_bar(total):
    """Returns a function that moves a progress bar on."""
    try:
        from tqdm import tqdm
    except ImportError:
        return keras.utils.Progbar(total).add
    return tqdm(total=total, unit="shard").update


def _end_with_parent():
    """Lets a worker end when its parent was killed."""

    def wait():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _write_shard(source, output, name, entries, class_names, quality):
    """Writes a shard, unless it is there, and returns what is in it."""
    path = os.path.join(output, name)
    note = os.path.join(output, UNFINISHED, f"{name}.json")
    if os.path.exists(path) and os.path.exists(note):
        with open(note, encoding="utf-8") as file:
            return json.load(file)
    result = {"records": 0, "bad": [], "encoded_anew": []}

    def examples():
        for file, label in entries:
            short = os.path.relpath(file, source)
            with open(file, "rb") as stream:
                contents = stream.read()
            try:
                encoded = as_jpeg(contents, short, quality)
            except ValueError:
                result["bad"].append(short)
                continue
            if encoded != contents:
                result["encoded_anew"].append(short)
            result["records"] += 1
            yield _example(encoded, label, class_names[label], short)

    _write_records(path, examples())
    _write_json(note, result)
    return result


def _example(encoded, label, text, filename):
    import tensorflow as tf

    def feature(value):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    features = {
        FEATURES[0]: feature(encoded),
        FEATURES[1]: tf.train.Feature(
            int64_list=tf.train.Int64List(value=[label])
        ),
        "image/class/text": feature(text.encode()),
        "image/filename": feature(filename.encode()),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def _write_records(path, records):
    import tensorflow as tf

    def write(temporary):
        with tf.io.TFRecordWriter(temporary) as writer:
            for record in records:
                writer.write(record)

    try:
        _write_whole(path, write)
    except tf.errors.OpError as error:
        raise OSError(f"{path} cannot be written: {error.message}") from error


def _write_json(path, value):
    def write(temporary):
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=1)

    _write_whole(path, write)


def _write_whole(path, write):
    """Lets a file appear under its name when all of it is on the disk."""
    temporary = f"{path}.{os.getpid()}.temporary"
    try:
        write(temporary)
        _sync(temporary)
        os.replace(temporary, path)
        _sync(os.path.dirname(path))
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def _sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main():
    parser = argparse.ArgumentParser(
        description="Turns a folder tree of images into shards of TFRecords."
    )
    parser.add_argument(
        "source", help="folder with train and val and a folder for each class"
    )
    parser.add_argument("output", help="folder for the shards")
    parser.add_argument("--train-shards", type=int, default=1024)
    parser.add_argument("--val-shards", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0, help="for the order")
    parser.add_argument(
        "--quality",
        type=int,
        default=QUALITY,
        help="of the images that are no RGB or grey JPEGs",
    )
    parser.add_argument(
        "--workers", type=int, help="processes, one for each core by default"
    )
    args = parser.parse_args()
    try:
        index = convert(**vars(args))
    except (OSError, ValueError, concurrent.futures.BrokenExecutor) as error:
        sys.exit(f"tfrecords: {error}")
    for split in SPLITS:
        bad = index[f"{split}_bad"]
        print(
            f"{split}: {sum(index[split]):,} images in {len(index[split])} "
            f"shards, {len(index[f'{split}_encoded_anew'])} encoded anew, "
            f"{len(bad)} bad{': ' if bad else ''}{', '.join(bad)}"
        )


if __name__ == "__main__":
    main()
