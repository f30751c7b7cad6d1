"""What a training on two workers does when one of them, or a disk, fails.

The faults are real ones, of processes on the loopback interface; the table in
docs/scaling.md says what each of them is.
"""

import os
import pathlib
import signal
import time

import h5py
import keras
import numpy as np
import pytest
from two_workers import SCRIPT, start_workers, texts

if keras.backend.backend() != "tensorflow":
    pytest.skip("workers train on TensorFlow", allow_module_level=True)

# Of TensorFlow's look after its workers, every 30 s and then 3 times 10 s,
# with time for the ends of the processes.
HEALTH = 120
WATCHDOG = 30
# Waits for its data forever while a file is there, alive and well, and lets
# the watchdog end what makes no progress sooner.
HANGING = f"""
import json, os, pathlib, runpy, time
import tensorflow as tf
from keras_epsanet.classification.imagenet import fitting
from keras_epsanet.training import callbacks

callbacks.HANG_SECONDS = {WATCHDOG}
index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
make_batches = fitting.imagenet.training_batches

def wait(images):
    while index == 1 and pathlib.Path("hang").exists():
        time.sleep(0.1)
    return images

def training_batches(*arguments, **options):
    def map_batch(images, labels):
        waited = tf.numpy_function(wait, [images], images.dtype)
        return tf.ensure_shape(waited, images.shape), labels

    return make_batches(*arguments, **options).map(map_batch)

fitting.imagenet.training_batches = training_batches
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""


def weights(output):
    arrays = {}

    def note(name, item):
        if isinstance(item, h5py.Dataset):
            arrays[name] = np.array(item)

    with h5py.File(output / "last.weights.h5") as file:
        file.visititems(note)
    return arrays


def wait(condition, processes, seconds=300):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "nothing happens"
        assert all(x.poll() is None for x in processes), "a worker has ended"
        time.sleep(0.002)


def end(processes, seconds):
    """Waits until all have ended; returns their codes, `None` of the others."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if all(process.poll() is not None for process in processes):
            break
        time.sleep(0.1)
    return [process.poll() for process in processes]


def finish(output, *options, script=SCRIPT):
    """Trains to the end, from wherever it is."""
    processes = start_workers(output, *options, script=script)
    try:
        assert end(processes, 400) == [0, 0], texts(output)
    finally:
        for process in processes:
            process.kill()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Weights of a training that nothing happens to."""
    output = tmp_path_factory.mktemp("alone") / "run"
    finish(output)
    return weights(output)


@pytest.fixture
def job(tmp_path, alone, monkeypatch):
    """Function that trains with a fault, and goes on."""
    monkeypatch.chdir(tmp_path)
    started = []

    def run(fault, codes, seconds, script=SCRIPT, condition=None, stays=()):
        output = tmp_path / "run"
        folder = output / "checkpoints"
        processes = start_workers(output, script=script)
        started.extend(processes)
        wait(
            condition
            or (lambda: folder.exists() and list(folder.glob("step-*"))),
            processes,
        )
        fault(processes)
        begin = time.monotonic()
        others = [x for i, x in enumerate(processes) if i not in stays]
        found = end(others, seconds)
        print(f"ended {found} in {time.monotonic() - begin:.0f} s")
        assert found == codes, texts(output)
        for process in processes:
            process.kill()
            process.wait()
        finish(output, script=script)
        assert "Going on after step" in texts(output)[0]
        ours = weights(output)
        assert ours.keys() == alone.keys() and alone
        for name, array in alone.items():
            np.testing.assert_allclose(
                ours[name], array, rtol=1e-5, atol=1e-5, err_msg=name
            )

    yield run
    for process in started:
        process.kill()


@pytest.mark.large
def test_a_worker_that_is_killed_ends_the_other(job):
    job(lambda x: x[1].kill(), [1, -signal.SIGKILL], HEALTH)


@pytest.mark.large
def test_a_worker_that_stands_still_ends_the_other(job):
    stop = lambda x: x[1].send_signal(signal.SIGSTOP)  # noqa: E731
    job(stop, [1], HEALTH, stays=(1,))


@pytest.mark.large
def test_a_worker_that_waits_forever_ends_and_the_other_too(job, tmp_path):
    pathlib.Path("hanging.py").write_text(HANGING)

    def hang(processes):
        pathlib.Path("hang").touch()
        seen = time.monotonic()
        wait(lambda: time.monotonic() - seen > 5, processes)

    def unhang(processes):
        hang(processes)
        found = end(processes, WATCHDOG + 30)
        assert found == [1, 1], texts(tmp_path / "run")
        assert "Timeout (0:00:30)" in texts(tmp_path / "run")[1]
        pathlib.Path("hang").unlink()

    job(unhang, [1, 1], 0, script="hanging.py")


@pytest.mark.large
def test_a_chief_that_is_killed_while_it_writes_ends_the_other(job, tmp_path):
    folder = tmp_path / "run/checkpoints"

    def is_writing():
        return (
            folder.exists()
            and list(folder.glob("step-*"))
            and any(x.startswith(".tmp-step") for x in os.listdir(folder))
        )

    kill = lambda x: x[0].kill()  # noqa: E731
    job(kill, [-signal.SIGKILL, 1], HEALTH, condition=is_writing)


@pytest.mark.large
def test_a_signal_to_one_worker_saves_and_ends_both(job):
    job(lambda x: x[1].send_signal(signal.SIGTERM), [75, 75], 60)
