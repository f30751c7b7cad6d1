"""A training has the same numbers, however many devices share its batches."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("replicas of TensorFlow", allow_module_level=True)

SCRIPT = pathlib.Path(__file__).with_name("train_on_any_number.py")
NOTES = ("replicas", "is_chief")


def free_addresses(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


def train(folder, network, devices, workers=1):
    """Returns what the first worker has written."""
    addresses = free_addresses(workers)
    processes = []
    for index in range(workers):
        environment = dict(os.environ)
        if workers > 1:
            task = {"type": "worker", "index": index}
            config = {"cluster": {"worker": addresses}, "task": task}
            environment["TF_CONFIG"] = json.dumps(config)
        output = folder / f"{network}-{workers}x{devices}-{index}.npz"
        arguments = [str(output), network, str(devices)]
        with open(output.with_suffix(".txt"), "w") as log:
            processes.append(
                subprocess.Popen(
                    [sys.executable, str(SCRIPT), *arguments],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment,
                )
            )
    try:
        for process in processes:
            process.wait(timeout=900)
    finally:
        for process in processes:
            process.kill()
    first = folder / f"{network}-{workers}x{devices}-0"
    text = first.with_suffix(".txt").read_text(errors="replace")
    assert not any(x.returncode for x in processes), text[-3000:]
    with np.load(first.with_suffix(".npz")) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """Function from a network to its numbers on one device."""
    folder, found = tmp_path_factory.mktemp("one"), {}

    def numbers(network):
        if network not in found:
            found[network] = train(folder, network, 1)
            assert found[network]["replicas"] == 1
        return found[network]

    return numbers


@pytest.mark.large
@pytest.mark.parametrize(
    "network, workers, devices",
    [
        ("epsanet", 1, 2),
        ("epsanet", 1, 4),
        ("epsanet", 2, 2),
        # Detectors are trained by one process.
        ("mask_rcnn", 1, 2),
        ("mask_rcnn", 1, 4),
    ],
)
def test_steps_have_the_same_losses_and_weights(
    tmp_path, one, network, workers, devices
):
    expected = one(network)
    found = train(tmp_path, network, devices, workers)
    assert found["replicas"] == workers * devices and found["is_chief"]
    assert found.keys() == expected.keys()
    assert (
        len(expected["loss:loss"]) == {"epsanet": 20, "mask_rcnn": 1}[network]
    )
    for name in expected.keys() - set(NOTES):
        # Relative to the largest, for a rounding is one of a sum.
        scale = max(1.0, float(np.abs(expected[name]).max()))
        difference = float(np.abs(found[name] - expected[name]).max()) / scale
        assert difference <= 1e-5, (name, difference)
