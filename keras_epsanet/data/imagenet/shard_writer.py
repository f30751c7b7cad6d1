"""Writes shards of TFRecords, each whole or not at all."""

import concurrent.futures
import json
import multiprocessing
import os
import threading

import keras

from keras_epsanet import storage
from keras_epsanet.atomic import whole, write_file
from keras_epsanet.data.bad_images import as_jpeg
from keras_epsanet.data.file_names import printable
from keras_epsanet.data.imagenet.record_blocks import to_blocks
from keras_epsanet.data.imagenet.splits import FEATURES, UNFINISHED


def write_shards(tasks, workers):
    """Writes the shards that are not there.

    Args:
        tasks: List of tuples: the source, the output, the name of the shard,
            a list of pairs of its files and their classes, the names of all
            classes, and the quality of what has to be encoded anew.
        workers: Integer, number of processes.

    Returns:
        A dictionary from the names of the shards to dictionaries: `records`,
        their number, `blocks`, where they are, and the names of `bad` images
        and of those `encoded_anew`.
    """
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
    if storage.exists(path) and storage.exists(note):
        with storage.open_file(note, encoding="utf-8") as file:
            return json.load(file)
    result = {"records": 0, "bad": [], "encoded_anew": []}
    lengths = []

    def examples():
        for file, label in entries:
            short = os.path.relpath(file, source)
            with storage.open_file(file, "rb") as stream:
                contents = stream.read()
            try:
                encoded = as_jpeg(contents, short, quality)
            except ValueError:
                result["bad"].append(printable(short))
                continue
            if encoded != contents:
                result["encoded_anew"].append(printable(short))
            example = _example(encoded, label, class_names[label], short)
            lengths.append(len(example))
            yield example

    _write_records(path, examples())
    result["records"], result["blocks"] = len(lengths), to_blocks(lengths)
    write_file(note, json.dumps(result, indent=1))
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
        "image/filename": feature(os.fsencode(filename)),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def _write_records(path, records):
    import tensorflow as tf

    try:
        with whole(path) as temporary:
            with tf.io.TFRecordWriter(os.fsencode(temporary)) as writer:
                for record in records:
                    writer.write(record)
    except tf.errors.OpError as error:
        raise OSError(
            f"{printable(path)} cannot be written: {error.message}"
        ) from error
