import json
import os
import pathlib
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_epsanet.distribution import batches as module
from keras_epsanet.distribution import (
    check_batch_size,
    divide_batches,
    pad_to_devices,
    predict,
)

if keras.backend.backend() == "torch":
    pytest.skip("PyTorch has one device", allow_module_level=True)

tf = pytest.importorskip("tensorflow")
SCRIPT = pathlib.Path(__file__).parent / "evaluate_on_devices.py"


class Devices:
    """Stands for a strategy of some devices."""

    def __init__(self, number):
        self.num_replicas_in_sync = number


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("devices") / "results.json"
    result = subprocess.run(
        [sys.executable, SCRIPT, path],
        env={
            **os.environ,
            "XLA_FLAGS": "--xla_force_host_platform_device_count=3",
        },
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(path.read_text())


def test_13_images_have_their_loss_on_any_devices(results):
    for name in ("1/4", "2/5", "3/4", "3/16"):
        # Measured: 2e-7.
        np.testing.assert_allclose(
            results[name],
            results["expected"],
            rtol=0,
            atol=1e-6,
            err_msg=f"devices / batch size {name}",
        )


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="JAX divides evenly"
)
def test_a_first_batch_that_does_not_divide_is_evaluated(results):
    np.testing.assert_allclose(results["uneven"], results["all"], atol=1e-6)


@pytest.mark.parametrize("devices", [2, 3])
def test_every_image_is_predicted_in_its_order(devices, results):
    number, distance = results[f"predictions/{devices}"]
    assert number == 13 and distance < 1e-6


def test_fewer_images_than_devices_are_filled_up(results):
    assert results["few"] == 3


@pytest.mark.parametrize("size, devices", [(1, 1), (13, 1), (6, 3), (3, 3)])
def test_batches_that_fit_are_accepted(size, devices):
    check_batch_size(size, Devices(devices))


@pytest.mark.parametrize(
    "size, devices, fitting",
    [(16, 3, "15 or 18"), (2, 3, "3"), (13, 2, "12 or 14"), (0, 2, "2")],
)
def test_batches_that_do_not_fit_name_those_that_do(size, devices, fitting):
    with pytest.raises(ValueError) as caught:
        check_batch_size(size, Devices(devices), name="images")
    message = str(caught.value)
    assert f"number of devices, {devices}: {fitting} would fit" in message
    assert message.endswith(f"Received: images={size}")


def pad(arrays, size, devices):
    dataset = tf.data.Dataset.from_tensor_slices(arrays).batch(size)
    return list(pad_to_devices(dataset, Devices(devices)).as_numpy_iterator())


def test_what_fills_up_is_an_image_of_weight_0():
    batches = pad((np.arange(1, 6), np.arange(5)), 4, 3)
    images, labels, weights = zip(*batches)
    assert [list(x) for x in images] == [[1, 2, 3, 4, 4, 4], [5] * 6]
    assert list(labels[0]) == [0, 1, 2, 3, 3, 3]
    # Of 12 images 5 count.
    np.testing.assert_allclose(weights[0], [2.4] * 4 + [0] * 2, rtol=1e-6)
    np.testing.assert_allclose(weights[1], [2.4] + [0] * 5, rtol=1e-6)


def test_weights_that_are_there_keep_their_ratio():
    arrays = (np.ones(3), np.ones(3), np.array([1.0, 3, 0]))
    ((_, _, weights),) = pad(arrays, 3, 2)
    np.testing.assert_allclose(weights, [2, 6, 0, 0])


def test_images_alone_and_nested_ones_are_filled_up():
    (images,) = pad({"a": np.ones((2, 5)), "b": np.ones(2)}, 2, 3)
    assert images["a"].shape == (3, 5) and images["b"].shape == (3,)


def test_empty_batches_count_for_nothing():
    dataset = tf.data.Dataset.from_tensor_slices((np.ones(4), np.ones(4)))
    dataset = dataset.batch(2).map(lambda x, y: (x[:0], y[:0]))
    full = tf.data.Dataset.from_tensors((np.ones(2), np.ones(2)))
    both = dataset.concatenate(full)
    batches = list(pad_to_devices(both, Devices(2)).as_numpy_iterator())
    assert len(batches) == 1 and list(batches[0][2]) == [1, 1]
    with pytest.raises(ValueError, match="Received: 0 batches"):
        pad_to_devices(dataset, Devices(2))


def test_one_device_keeps_batches_without_weights():
    dataset = tf.data.Dataset.range(3).batch(2)
    assert pad_to_devices(dataset, Devices(1)) is dataset


def test_endless_batches_are_refused():
    dataset = tf.data.Dataset.range(3).batch(2).repeat()
    with pytest.raises(ValueError, match="Received: infinite"):
        pad_to_devices(dataset, Devices(2))


def test_weights_of_pixels_are_refused():
    with pytest.raises(ValueError, match=r"Received: weights of .*2"):
        pad(3 * (np.ones((3, 2)),), 2, 2)


def test_nothing_to_predict_is_refused():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="must be an image. Received: none"):
        predict(model, [])


@pytest.mark.large
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="workers of TensorFlow"
)
def test_workers_evaluate_parts_of_all_images(tmp_path):
    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    cluster = {
        "worker": [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    }
    for one in sockets:
        one.close()
    processes = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": cluster, "task": task})
        with open(tmp_path / f"{index}.log", "w") as log:
            processes.append(
                subprocess.Popen(
                    [
                        sys.executable,
                        SCRIPT.with_name("evaluate_on_workers.py"),
                        tmp_path / f"{index}.json",
                    ],
                    env={**os.environ, "TF_CONFIG": config},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
    try:
        codes = [process.wait(timeout=200) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [0, 0], (tmp_path / "0.log").read_text()[-3000:]
    results = [
        json.loads((tmp_path / f"{index}.json").read_text())
        for index in range(2)
    ]
    assert results[0]["read"] == list(range(0, 13, 2))
    assert results[1]["read"] == list(range(1, 13, 2))
    for result in results:
        np.testing.assert_allclose(
            result["found"], result["expected"], rtol=0, atol=1e-6
        )


def test_images_of_unknown_sizes_are_padded_too():
    images = [np.full((1, side, 5, 3), side, "float32") for side in (2, 4)]
    dataset = tf.data.Dataset.from_generator(
        lambda: iter(images),
        output_signature=tf.TensorSpec((None, None, None, 3)),
    )
    padded = list(pad_to_devices(dataset, Devices(3)))
    assert [x.shape for x in padded] == [(3, 2, 5, 3), (3, 4, 5, 3)]
    assert [float(x[-1, 0, 0, 0]) for x in padded] == [2, 4]


class Workers(Devices):
    """Stands for a strategy of this worker and others."""

    def distribute_datasets_from_function(self, function):
        return function(None)

    def experimental_distribute_values_from_function(self, function):
        return function(None)

    def gather(self, counts, axis):
        assert axis == 0
        return tf.concat((counts, counts, self.others, self.others), axis)


@pytest.fixture
def make_batches(monkeypatch):
    """Function that gives 5 images of this worker, the second of two."""
    monkeypatch.setattr(module, "worker", lambda strategy: (1, 2))
    shards = []

    def make(shard):
        shards.append(shard)
        numbers = tf.range(10, 15)
        return tf.data.Dataset.from_tensor_slices((numbers, numbers)).batch(3)

    make.shards = shards
    return make


def test_workers_take_as_many_batches_of_one_size(make_batches):
    """Four devices, two of each worker; the other one has more batches."""
    strategy = Workers(4)
    strategy.others = tf.constant([[4, 3, 9]], "int64")
    batches = list(divide_batches(make_batches, strategy))
    assert make_batches.shards == [(1, 2)]
    # Of each device; of the third batch of the other worker there is none.
    images = [x.numpy().tolist() for x, _, _ in batches]
    assert images == [[10, 11], [12, 12], [13, 14], [14, 14], [0, 0], [0, 0]]
    weights = [w.numpy().tolist() for _, _, w in batches]
    # Of 4 images in 3 batches of 2 workers, 14 count.
    w = pytest.approx(4 * 3 * 2 / 14)
    assert weights == [[w, w], [w, 0], [w, w], [0, 0], [0, 0], [0, 0]]


def test_workers_without_any_image_are_refused(make_batches):
    strategy = Workers(4)
    strategy.others = tf.constant([[0, 0, 0]], "int64")
    dataset = make_batches(None).take(0)
    with pytest.raises(ValueError, match="Received: none"):
        divide_batches(lambda shard: dataset, strategy)


def test_one_process_reads_all():
    def make(shard):
        assert shard == (0, 1)
        return tf.data.Dataset.range(5).batch(2)

    batches = divide_batches(make, Devices(3))
    assert [x.tolist() for x in batches.as_numpy_iterator()] == [
        [0, 1, 1],
        [2, 3, 3],
        [4, 4, 4],
    ]
    assert batches.cardinality() == 3


def test_workers_do_not_divide_what_is_padded_by_files():
    dataset = tf.data.Dataset.range(5).batch(2)
    options = pad_to_devices(dataset, Devices(2)).options()
    policy = options.experimental_distribute.auto_shard_policy
    assert policy == tf.data.experimental.AutoShardPolicy.DATA


def test_one_device_scales_weights_too():
    arrays = np.ones(3), np.ones(3), np.array([1.0, 0, 2])
    first, second = pad(arrays, 2, 1)
    # Two of four images count.
    assert first[2].tolist() == [2, 0] and second[2].tolist() == [4, 0]
