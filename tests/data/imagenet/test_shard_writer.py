"""Shards of records, each whole or not at all."""

import concurrent.futures
import io
import json
import os
import subprocess
import sys
import time

import keras
import numpy as np
import PIL.Image
import pytest

from keras_epsanet import atomic
from keras_epsanet.data.imagenet import shard_writer
from keras_epsanet.data.imagenet.record_blocks import scan_blocks

if keras.backend.backend() != "tensorflow":
    pytest.skip("written by TensorFlow", allow_module_level=True)

import tensorflow as tf

NAMES = ["apples", "pears"]


def encode(kind):
    file = io.BytesIO()
    image = np.random.default_rng(0).integers(0, 256, (8, 9, 3), "uint8")
    PIL.Image.fromarray(image).save(file, kind)
    return file.getvalue()


@pytest.fixture
def task(tmp_path):
    """What a shard of three images, one of them bad, is made of."""
    source, output = tmp_path / "source", tmp_path / "output"
    (output / "unfinished").mkdir(parents=True)
    source.mkdir()
    contents = {"a.jpg": encode("JPEG"), "b.png": encode("PNG"), "c.jpg": b"x"}
    for name, content in contents.items():
        (source / name).write_bytes(content)
    entries = [(str(source / name), i % 2) for i, name in enumerate(contents)]
    name = "train-00000-of-00001.tfrecord"
    return str(source), str(output), name, entries, NAMES, 50


def read(path):
    kinds = {
        "image/encoded": "string",
        "image/class/label": "int64",
        "image/class/text": "string",
        "image/filename": "string",
    }
    features = {k: tf.io.FixedLenFeature((), v) for k, v in kinds.items()}
    for record in tf.data.TFRecordDataset(str(path)):
        parsed = tf.io.parse_single_example(record, features)
        yield [parsed[name].numpy() for name in kinds]


def test_records_hold_image_class_and_name(task, capsys):
    source, output, name, *_ = task
    results = shard_writer.write_shards([task], 1)
    path = os.path.join(output, name)
    assert results == {
        name: {
            "records": 2,
            "blocks": scan_blocks(path),
            "bad": ["c.jpg"],
            "encoded_anew": ["b.png"],
        }
    }
    first, second = read(path)
    assert first == [encode("JPEG"), 0, b"apples", b"a.jpg"]
    assert second[1:] == [1, b"pears", b"b.png"]
    assert second[0] == shard_writer.as_jpeg(encode("PNG"), "b", 50)
    note = os.path.join(output, "unfinished", f"{name}.json")
    assert json.load(open(note)) == results[name]


@pytest.mark.parametrize("lost", [None, "shard", "note"])
def test_a_shard_stays_if_it_and_its_note_are_there(task, lost, monkeypatch):
    _, output, name, *_ = task
    shard_writer.write_shards([task], 1)
    path = os.path.join(output, name)
    written = []
    write = shard_writer._write_records
    monkeypatch.setattr(
        shard_writer,
        "_write_records",
        lambda *x: written.append(x[0]) or write(*x),
    )
    before = open(path, "rb").read()
    if lost == "shard":
        os.remove(path)
    elif lost == "note":
        os.remove(os.path.join(output, "unfinished", f"{name}.json"))
    result = shard_writer.write_shards([task], 1)[name]
    assert written == [path] * bool(lost)
    assert open(path, "rb").read() == before and result["records"] == 2


def test_what_fails_leaves_nothing_under_any_name(task, monkeypatch):
    _, output, name, *_ = task

    def fail(path):
        raise OSError("No space left on device")

    monkeypatch.setattr(atomic, "sync", fail)
    with pytest.raises(OSError):
        shard_writer.write_shards([task], 1)
    assert os.listdir(output) == ["unfinished"]
    assert not os.listdir(os.path.join(output, "unfinished"))


def test_tensorflow_s_errors_name_the_shard(tmp_path):
    # With more letters the name is longer than file systems have it.
    path = tmp_path / f"{245 * 'a'}.tfrecord"
    with pytest.raises(OSError, match=f"{path} cannot be written: "):
        shard_writer._write_records(str(path), [b"record"])


# Two workers that say who they are and then have much to do.
WORKERS = """
import os, sys, time
from keras_epsanet.data.imagenet import shard_writer

def work(folder, *_):
    open(os.path.join(folder, str(os.getpid())), "w").close()
    time.sleep(600)

shard_writer._write_shard = work
if __name__ == "__main__":
    folder = sys.argv[1]
    shard_writer.write_shards([(folder, "", "a"), (folder, "", "b")], 2)
"""


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.large
def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    script, folder = tmp_path / "script.py", tmp_path / "workers"
    script.write_text(WORKERS)
    folder.mkdir()
    process = subprocess.Popen([sys.executable, script, folder])
    wait_until(lambda: len(os.listdir(folder)) == 2)
    workers = [int(name) for name in os.listdir(folder)]
    process.kill()
    process.wait()
    wait_until(lambda: not any(map(is_alive, workers)), 20)


def test_the_bar_counts_the_shards(task, monkeypatch):
    totals, steps = [], []
    monkeypatch.setattr(
        shard_writer,
        "_progress_bar",
        lambda total: totals.append(total) or steps.append,
    )
    other = list(task)
    other[2] = "val-00000-of-00001.tfrecord"
    results = shard_writer.write_shards([task, tuple(other)], 1)
    assert (totals, steps) == ([2], [1, 1]) and len(results) == 2


@pytest.fixture
def pools(monkeypatch):
    """Threads in the place of processes, and how they are asked for."""
    pools = []

    class Pool(concurrent.futures.ThreadPoolExecutor):
        def __init__(self, workers, mp_context, initializer):
            super().__init__(workers)
            pools.append((workers, mp_context.get_start_method(), initializer))

    executors = shard_writer.concurrent.futures
    monkeypatch.setattr(executors, "ProcessPoolExecutor", Pool)
    return pools


@pytest.mark.parametrize("workers, used", [(2, 2), (5, 3)])
def test_workers_write_a_shard_each(pools, monkeypatch, workers, used):
    steps = []
    monkeypatch.setattr(shard_writer, "_progress_bar", lambda _: steps.append)
    monkeypatch.setattr(
        shard_writer, "_write_shard", lambda *task: f"result of {task}"
    )
    tasks = [("source", "output", name) for name in "abc"]
    found = shard_writer.write_shards(tasks, workers)
    assert found == {task[2]: f"result of {task}" for task in tasks}
    assert steps == [1, 1, 1]
    # TensorFlow's threads would not survive a fork.
    assert pools == [(used, "spawn", shard_writer._end_with_parent)]


def test_a_worker_that_fails_ends_the_others(pools, monkeypatch):
    started = []

    def work(source, output, name):
        started.append(name)
        raise OSError(f"no space for {name}")

    monkeypatch.setattr(shard_writer, "_progress_bar", lambda _: started.append)
    monkeypatch.setattr(shard_writer, "_write_shard", work)
    with pytest.raises(OSError, match="no space for a"):
        shard_writer.write_shards([("", "", "a")], 2)
    assert started == ["a"]
