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
    pytest.skip("starts both itself", allow_module_level=True)

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


def variables(backend, addresses, index):
    """Those of the environment of one of the workers of these addresses."""
    others = {"KERAS_BACKEND": backend, "JAX_ENABLE_X64": "1"}
    if len(addresses) == 1:
        return others
    if backend == "jax":
        return others | {
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": addresses[0],
            "KERAS_DISTRIBUTION_NUM_PROCESSES": str(len(addresses)),
            "KERAS_DISTRIBUTION_PROCESS_ID": str(index),
        }
    task = {"type": "worker", "index": index}
    config = {"cluster": {"worker": addresses}, "task": task}
    return others | {"TF_CONFIG": json.dumps(config)}


def train(folder, backend, network, devices, workers=1):
    """Returns what the first worker has written."""
    addresses = free_addresses(workers)
    processes = []
    for index in range(workers):
        environment = {**os.environ, **variables(backend, addresses, index)}
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
    """Function from a backend and a network to its numbers on one device."""
    folder, found = tmp_path_factory.mktemp("one"), {}

    def numbers(*of):
        if of not in found:
            found[of] = train(folder, *of, 1)
            assert found[of]["replicas"] == 1
        return found[of]

    return numbers


@pytest.mark.large
@pytest.mark.parametrize(
    "backend, network, workers, devices",
    [
        ("tensorflow", "epsanet", 1, 2),
        ("tensorflow", "epsanet", 1, 4),
        ("tensorflow", "epsanet", 2, 2),
        ("jax", "epsanet", 1, 2),
        ("jax", "epsanet", 1, 4),
        ("jax", "epsanet", 2, 2),
        ("tensorflow", "mask_rcnn", 1, 2),
        ("tensorflow", "mask_rcnn", 1, 4),
    ],
)
def test_steps_have_the_same_losses_and_weights(
    tmp_path, one, backend, network, workers, devices
):
    expected = one(backend, network)
    found = train(tmp_path, backend, network, devices, workers)
    assert found["replicas"] == workers * devices and found["is_chief"]
    assert found.keys() == expected.keys()
    losses = expected["loss:loss"]
    assert len(losses) == {"epsanet": 20, "mask_rcnn": 1}[network]
    if network == "epsanet":
        assert losses[-5:].mean() < 0.95 * losses[:5].mean()
    for name in expected.keys() - set(NOTES):
        # Relative to the largest, for a rounding is one of a sum.
        scale = max(1.0, float(np.abs(expected[name]).max()))
        difference = float(np.abs(found[name] - expected[name]).max()) / scale
        assert difference <= 1e-5, (name, difference)
