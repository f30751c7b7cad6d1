"""A training of train_coco.py that is killed ends as one left alone."""

import csv
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import h5py
import keras
import numpy as np
import pytest

pytest.importorskip("pycocotools")
if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)

SCRIPT = pathlib.Path(__file__).with_name("tiny_train_coco.py")
OPTIONS = "--scenes 13 --epochs 2 --batch-size 4 --image-size 64 "
OPTIONS += "--longer-side 64 --checkpoint-steps 1 --deterministic "
OPTIONS += "--num-samples 16"
COLUMNS = ("epoch", "loss", "learning_rate", "val_AP")


def start(output, *options):
    """Starts a training, whose output goes to a file beside its folder."""
    options = ["0", "--output", output, *OPTIONS.split(), *options]
    with open(f"{output}.txt", "a") as file:
        return subprocess.Popen(
            [sys.executable, SCRIPT, *options],
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def finish(output, *options):
    assert start(output, *options).wait() == 0, read(output)[-2000:]


def read(output):
    return pathlib.Path(f"{output}.txt").read_text()


def steps(output):
    """Names of the checkpoints."""
    return sorted(x.name for x in output.glob("checkpoints/step-*"))


def kill_after_a_checkpoint(process, output, delay):
    """Kills a training some time after it has written another checkpoint."""
    before, limit = steps(output), time.monotonic() + 300
    while steps(output) == before and process.poll() is None:
        assert time.monotonic() < limit, "the process makes no progress"
        time.sleep(0.001)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()


def weights(output):
    arrays = {}

    def note(name, item):
        if isinstance(item, h5py.Dataset):
            arrays[name] = np.array(item)

    with h5py.File(output / "last.weights.h5") as file:
        file.visititems(note)
    return arrays


def log(output):
    with open(output / "log.csv", newline="") as file:
        return [[row[x] for x in COLUMNS] for row in csv.DictReader(file)]


@pytest.mark.large
@pytest.mark.parametrize("detector", ["retinanet", "faster_rcnn", "mask_rcnn"])
def test_kills_at_random_moments_change_nothing(tmp_path, detector):
    options = ["--detector", detector]
    if detector == "retinanet":
        options += ["--ema", "0.9"]
    whole, part = tmp_path / "whole", tmp_path / "part"
    finish(whole, *options)
    generator = random.Random(detector)
    for _ in range(4):
        # At once, while the next is written, in a step, an evaluation.
        delay = generator.choice([0, 0.02, 0.3, 2]) * generator.random()
        kill_after_a_checkpoint(start(part, *options), part, delay)
    finish(part, *options)
    starts = re.findall("after step (.)", read(part))
    assert len(set(starts)) > 1, starts
    ours, theirs = weights(part), weights(whole)
    assert ours.keys() == theirs.keys() and ours
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)
    assert log(part) == log(whole)
