"""Several workers train together, on the loopback interface."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANet

if keras.backend.backend() != "tensorflow":
    pytest.skip("workers train on TensorFlow", allow_module_level=True)

SCRIPT = pathlib.Path(__file__).parents[2] / "examples/train_imagenet.py"


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for item in sockets:
        item.bind(("127.0.0.1", 0))
    ports = [item.getsockname()[1] for item in sockets]
    for item in sockets:
        item.close()
    return ports


def start_workers(output, *options, script=SCRIPT):
    """Starts two processes, whose output goes to files beside the folder."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    processes = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": cluster, "task": task})
        with open(f"{output}-{index}.txt", "a") as file:
            arguments = ["--smoke", "--output", output, *options]
            processes.append(
                subprocess.Popen(
                    [sys.executable, script, *map(str, arguments)],
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, "TF_CONFIG": config},
                )
            )
    return processes


def supervise(processes, seconds=200):
    """Ends all workers when one has failed, as documented; returns codes."""
    limit = time.monotonic() + seconds
    while any(process.poll() is None for process in processes):
        failed = any(process.poll() for process in processes)
        if failed or time.monotonic() > limit:
            time.sleep(5)  # Time to save, where all got a signal.
            for process in processes:
                process.kill()
        time.sleep(0.1)
    return [process.wait() for process in processes]


def wait_for_checkpoints(output, count, process):
    folder = output / "checkpoints"
    while process.poll() is None:
        if folder.exists() and len(list(folder.glob("step-*"))) >= count:
            return
        time.sleep(0.05)


def texts(output):
    paths = [pathlib.Path(f"{output}-{index}.txt") for index in range(2)]
    return [path.read_text(errors="replace") for path in paths]


@pytest.mark.large
def test_a_job_recovers_from_the_kill_of_a_worker(tmp_path):
    output = tmp_path / "run"
    processes = start_workers(output)
    wait_for_checkpoints(output, 2, processes[0])
    processes[1].kill()
    assert 0 not in supervise(processes), texts(output)
    assert supervise(start_workers(output)) == [0, 0], texts(output)
    assert "Going on after step" in texts(output)[0]
    lines = (output / "log.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch", "0", "1", "2"]
    assert (output / "last.weights.h5").exists()


@pytest.mark.large
def test_a_signal_to_one_worker_saves_and_ends_both(tmp_path):
    output = tmp_path / "run"
    processes = start_workers(output, "--checkpoint-steps", 1000)
    wait_for_checkpoints(output, 1, processes[0])
    processes[1].send_signal(signal.SIGTERM)
    assert supervise(processes) == [75, 75], texts(output)
    (*_, last) = sorted((output / "checkpoints").glob("step-*"))
    assert int(last.name.split("-")[1]) > 6


NOTED = f"""
import json, os, runpy, sys
import numpy as np
from keras_epsanet.classification.imagenet import starting
from keras_epsanet.training import trained_start

index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
start, write_file = starting.start, trained_start.write_file

def note(*arguments):
    started = start(*arguments)
    np.savez(f"start-{{index}}.npz", *[v.numpy() for v in started[0].variables])
    return started

def write(path, text):
    print("writes", os.path.basename(path), flush=True)
    write_file(path, text)

starting.start, trained_start.write_file = note, write
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""


@pytest.mark.large
def test_workers_start_alike_from_a_resnet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    resnet = EPSANet(
        (1, 1), (64, 128), (3,), (1,), input_shape=(32, 32, 3), classes=10
    )
    resnet.save("resnet.keras")
    pathlib.Path("noted.py").write_text(NOTED)
    output = tmp_path / "run"
    options = "--inherit resnet.keras --epochs 1 --decay-epochs 1".split()
    processes = start_workers(output, *options, script="noted.py")
    assert supervise(processes, 400) == [0, 0], texts(output)
    first, second = (np.load(f"start-{index}.npz") for index in range(2))
    for name in first.files:
        np.testing.assert_array_equal(first[name], second[name])
    kernel = keras.ops.convert_to_numpy(resnet.get_layer("conv1_conv").kernel)
    np.testing.assert_array_equal(first["arr_0"], kernel)
    written = ["writes initialized_from.txt" in text for text in texts(output)]
    assert written == [True, False]
    note = (output / "initialized_from.txt").read_text()
    assert note.startswith("resnet.keras\nInitialized from ResNet-8: ")
    assert "2 modules fitted" in note
