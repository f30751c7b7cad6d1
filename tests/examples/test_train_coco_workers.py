"""Two workers train a detector as one process does, and survive faults."""

import csv
import pathlib
import re
import signal
import subprocess
import sys
import time

import h5py
import keras
import numpy as np
import pytest
from two_workers import start_workers, supervise, texts

pytest.importorskip("pycocotools")
if keras.backend.backend() != "tensorflow":
    pytest.skip("workers train on TensorFlow", allow_module_level=True)

SCRIPT = pathlib.Path(__file__).with_name("tiny_train_coco.py")
# Of the last batch of an evaluation the second worker has no image.
OPTIONS = "--scenes 13 --epochs 2 --batch-size 6 --image-size 64 "
OPTIONS += "--longer-side 64 --norm-eval --num-samples 16 "
OPTIONS += "--checkpoint-steps 1 --deterministic"
# Time to notice that a worker is gone, as in test_faults.py.
HEALTH = 120


def start(output, detector):
    options = ["--detector", detector, *OPTIONS.split()]
    return start_workers(
        output, "1", "--output", output, *options, script=SCRIPT, smoke=False
    )


def finish(output, detector):
    codes = supervise(start(output, detector), 900)
    assert codes == [0, 0], [text[-3000:] for text in texts(output)]


def read_log(output):
    """The lines of the log, a dictionary each."""
    with open(output / "log.csv", newline="") as file:
        return [
            {name: float(value) for name, value in row.items()}
            for row in csv.DictReader(file)
        ]


def weights(output):
    arrays = {}

    def note(name, item):
        if isinstance(item, h5py.Dataset):
            arrays[name] = np.array(item)

    with h5py.File(output / "last.weights.h5") as file:
        file.visititems(note)
    return arrays


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Function that trains on two workers once, and returns the folder."""
    folders = {}

    def train(detector):
        if detector not in folders:
            folders[detector] = tmp_path_factory.mktemp(detector) / "run"
            finish(folders[detector], detector)
        return folders[detector]

    return train


@pytest.mark.large
@pytest.mark.parametrize("detector", ["retinanet", "faster_rcnn", "mask_rcnn"])
def test_two_workers_have_losses_and_ap_of_one_process(
    trained, detector, tmp_path
):
    alone = ["1", "--detector", detector, "--output", tmp_path / "alone"]
    process = subprocess.Popen(
        [sys.executable, SCRIPT, *alone, *OPTIONS.split()]
    )
    try:
        output = trained(detector)
        assert process.wait() == 0
    finally:
        process.kill()
    expected = read_log(tmp_path / "alone")
    names = [x for x in expected[0] if x.endswith("loss") or "AP" in x]
    assert len(names) > 8
    assert any(epoch["val_AP50"] > 0 for epoch in expected)
    for ours, theirs in zip(read_log(output), expected, strict=True):
        for name in names:
            np.testing.assert_allclose(
                ours[name], theirs[name], rtol=1e-5, err_msg=name
            )
    # Both ended when all was written, and one of them alone wrote and spoke.
    first, second = texts(output)
    for words in ("Composing 13 scenes", "| boxes |", "Saved in", "Epoch 1/2"):
        assert words in first and words not in second
    assert "unhealthy" not in first + second
    assert (output / "predictions.png").stat().st_size > 1000
    # Every image once: the results are those of one process, in their order.
    results, theirs = (
        re.findall(r'"image_id": (\d+)', (x / "results.json").read_text())
        for x in (output, tmp_path / "alone")
    )
    assert results == theirs and len(set(results)) == 13


def wait_for_a_checkpoint(output, processes):
    folder = output / "checkpoints"
    before = set(folder.glob("step-*"))
    limit = time.monotonic() + 600
    while set(folder.glob("step-*")) <= before:
        assert time.monotonic() < limit, "nothing happens"
        assert all(x.poll() is None for x in processes), texts(output)
        time.sleep(0.01)


def end(processes, seconds):
    """Waits until all have ended; returns their codes, `None` of the others."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit and None in [x.poll() for x in processes]:
        time.sleep(0.1)
    return [process.poll() for process in processes]


@pytest.mark.large
@pytest.mark.parametrize(
    "number, codes",
    [
        (signal.SIGKILL, [1, -signal.SIGKILL]),
        (signal.SIGTERM, [75, 75]),
    ],
    ids=["kill", "preemption"],
)
def test_faults_of_a_worker_leave_the_weights_as_they_would_be(
    trained, tmp_path, number, codes
):
    output = tmp_path / "run"
    processes = start(output, "retinanet")
    try:
        wait_for_a_checkpoint(output, processes)
        processes[1].send_signal(number)
        found = end(processes, HEALTH)
    finally:
        for process in processes:
            process.kill()
    assert found == codes, [text[-3000:] for text in texts(output)]
    finish(output, "retinanet")
    assert "Going on after step" in texts(output)[0]
    ours, theirs = weights(output), weights(trained("retinanet"))
    assert ours.keys() == theirs.keys() and ours
    for name, array in theirs.items():
        np.testing.assert_allclose(
            ours[name], array, rtol=1e-5, atol=1e-5, err_msg=name
        )
    columns = ("epoch", "loss", "learning_rate", "val_AP")
    for mine, whole in zip(
        read_log(output), read_log(trained("retinanet")), strict=True
    ):
        for name in columns:
            np.testing.assert_allclose(mine[name], whole[name], rtol=1e-5)
