import json
import math
import os
import pathlib
import socket
import subprocess
import sys

import keras
import pytest

from keras_epsanet.distribution.workers import (
    chief_first,
    from_chief,
    gather_objects,
    wait_for_all,
)

if keras.backend.backend() != "tensorflow":
    pytest.skip("workers of TensorFlow", allow_module_level=True)

import tensorflow as tf


def test_one_process_has_it_all():
    strategy = tf.distribute.get_strategy()
    value = object()
    assert gather_objects(value, strategy) == [value]
    assert from_chief(lambda: value, strategy) is value
    assert chief_first(lambda: value, strategy) is value
    assert wait_for_all(strategy) is None
    for function in (from_chief, chief_first):
        with pytest.raises(ZeroDivisionError):
            function(lambda: 1 / 0, strategy)


SCRIPT = pathlib.Path(__file__).with_name("talk_between_workers.py")


def free_addresses(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


def start(index, addresses, folder):
    cluster = {"worker": addresses}
    task = {"type": "worker", "index": index}
    config = json.dumps({"cluster": cluster, "task": task})
    with open(folder / f"{index}.log", "w") as log:
        return subprocess.Popen(
            [sys.executable, SCRIPT, folder / f"{index}.json"],
            env={**os.environ, "TF_CONFIG": config},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """What each of two workers with two devices has noted."""
    folder = tmp_path_factory.mktemp("workers")
    addresses = free_addresses(2)
    processes = [start(index, addresses, folder) for index in range(2)]
    try:
        codes = [process.wait(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    log = (folder / "0.log").read_text()
    assert codes == [0, 0], log[-3000:]
    assert "retracing" not in log
    return [json.loads((folder / f"{i}.json").read_text()) for i in range(2)]


def test_all_workers_have_what_each_has(workers):
    expected = [
        [{"name": "", "value": 0.1, "none": None}],
        [{"name": 50 * "ä", "value": 1.1, "none": None}],
    ]
    for found in workers:
        assert found["gathered"] == 7 * [expected]
        assert found["long"] == 10**5 and math.isnan(found["nan"])


def test_the_first_worker_computes_for_all(workers):
    assert [found["from_chief"] for found in workers] == [0, 0]
    assert [found["calls"] for found in workers] == [[0], []]
    assert [found["chief_first"] for found in workers] == [0, 1]


def test_all_workers_learn_why_the_first_one_failed(workers):
    message = "the disk is full"
    assert [found["failed"] for found in workers] == [
        2 * [["OSError", message]],
        2 * [["RuntimeError", message]],
    ]


def test_workers_predict_their_own_images_in_their_order(workers):
    assert workers[0]["predicted"] == [0, 1, 2]
    assert workers[1]["predicted"] == [10, 11, 12, 13, 14, 15, 16]
