import json
import os
import pathlib
import socket
import subprocess
import sys
import types

import keras
import numpy as np
import pytest

from keras_epsanet.distribution import (
    any_worker,
    is_chief,
    make_strategy,
    num_replicas,
)
from keras_epsanet.distribution import strategy as strategy_module

FOLDER = pathlib.Path(__file__).parent
TIMEOUT = 600  # Seconds; workers that miss another one wait for ever.

tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tests TensorFlow's own"
)


def start(
    folder, name, scenarios, variables=None, script="train_on_devices.py"
):
    """Starts a training script; its output goes to a file."""
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    environment.pop("TF_CONFIG", None)
    environment.update(variables or {})
    output = str(folder / f"{name}.npz")
    with open(folder / f"{name}.log", "w") as log:
        return subprocess.Popen(
            [sys.executable, str(FOLDER / script), output, *scenarios],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )


def free_addresses(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


def as_tf_config(index, addresses):
    """The variable of Kubernetes' TFJob and of Vertex AI."""
    task = {"type": "worker", "index": index}
    config = {"cluster": {"worker": addresses}, "task": task}
    return {"TF_CONFIG": json.dumps(config)}


def as_srun(index, addresses):
    """What `srun` sets for two tasks of a node, whose ports the job tells."""
    return {
        "SLURM_JOB_ID": str(JOB),
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(index),
        "SLURM_LOCALID": str(index),
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_TASKS_PER_NODE": "2",
        "SLURMD_NODENAME": "localhost",
    }


JOB = os.getpid()  # Its ports are hardly another one's.


def finish(folder, processes):
    """Waits for named processes and returns the arrays of each."""
    try:
        for name, process in processes.items():
            code = process.wait(timeout=TIMEOUT)
            assert code == 0, (folder / f"{name}.log").read_text()[-3000:]
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    return [dict(np.load(folder / f"{name}.npz")) for name in processes]


def pick(arrays, prefix):
    """The arrays whose names start so, without the start."""
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def assert_close(actual, expected, tolerance):
    assert actual.keys() == expected.keys() and len(actual) > 3
    for name in actual:
        np.testing.assert_allclose(
            actual[name], expected[name], rtol=0, atol=tolerance, err_msg=name
        )


# Measured: float64 4e-16, float32 1.2e-7, mixed float16 2e-4.
TOLERANCES = {
    "float64": 1e-8,
    "float32": 2e-6,
    "accumulate": 1e-12,
    "overflow": 2e-3,
    "epsanet50": 1e-8,
}


def assert_trained_as_one(arrays, scenario, first):
    """Compares with one device of the first worker, with whole batches."""
    actual = pick(arrays, f"{scenario}/all/")
    one = pick(first, f"{scenario}/one/")
    assert_close(actual, one, TOLERANCES[scenario])
    # The norm of the gradient: there was something to clip.
    assert one.get("norm", np.inf) > 0.5
    if scenario == "overflow":
        assert all(np.isfinite(array).all() for array in actual.values())
        # All batches but one, on all devices; half of the first scale.
        assert actual["state4"] == 10 and actual["state3"] == 4


@tensorflow_only
@pytest.mark.parametrize(
    "scenarios",
    [
        ["float64", "accumulate", "overflow"],
        pytest.param(["float32", "epsanet50"], marks=pytest.mark.large),
    ],
    ids="-".join,
)
def test_two_devices_train_as_one(scenarios, tmp_path):
    process = start(tmp_path, "both", scenarios)
    (arrays,) = finish(tmp_path, {"both": process})
    assert arrays["replicas"] == 2 and arrays["is_chief"]
    for scenario in scenarios:
        assert_trained_as_one(arrays, scenario, arrays)


@tensorflow_only
@pytest.mark.parametrize(
    "variables, scenarios",
    [
        (as_tf_config, ["float64", "accumulate", "overflow"]),
        (as_srun, ["accumulate"]),
    ],
)
def test_two_workers_train_as_one(variables, scenarios, tmp_path):
    processes, addresses = {}, free_addresses(2)
    for i in range(2):
        name, environment = f"worker{i}", variables(i, addresses)
        processes[name] = start(tmp_path, name, scenarios, environment)
    results = finish(tmp_path, processes)
    for i, arrays in enumerate(results):
        assert arrays["replicas"] == 2 and arrays["is_chief"] == (i == 0)
        for scenario in scenarios:
            assert_trained_as_one(arrays, scenario, results[0])
        assert (
            "2 devices train with 2 processes, which"
            in (tmp_path / f"worker{i}.log").read_text()
        )


@tensorflow_only
def test_two_processes_of_jax_train_as_one(tmp_path):
    pytest.importorskip("jax")
    (address,) = free_addresses(1)
    hosts = {
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
        "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
    }
    processes = {}
    for i in range(3):  # The last one by itself.
        variables = {"KERAS_BACKEND": "jax"}
        if i < 2:
            variables |= {**hosts, "KERAS_DISTRIBUTION_PROCESS_ID": str(i)}
        name = f"process{i}"
        processes[name] = start(
            tmp_path, name, (), variables, "train_on_hosts.py"
        )
    first, second, alone = finish(tmp_path, processes)
    assert [x.pop("replicas") for x in (first, second, alone)] == [2, 2, 1]
    chiefs = [x.pop("is_chief") for x in (first, second, alone)]
    assert chiefs == [True, False, True]
    assert_close(first, alone, 1e-6)
    assert_close(second, first, 0)


def test_one_device_needs_no_strategy():
    if keras.backend.backend() == "torch":
        pytest.skip("see test_pytorch_is_refused")
    strategy = make_strategy()
    assert num_replicas(strategy) == 1 and is_chief(strategy)
    with strategy.scope():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        model.compile("sgd", "mse")
    model.fit(np.ones((8, 4)), np.ones((8, 2)), verbose=0)


def test_pytorch_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(ValueError, match="Received: KERAS_BACKEND=torch"):
        make_strategy()


def test_no_device_is_refused():
    if keras.backend.backend() == "torch":
        pytest.skip("has no strategy")
    with pytest.raises(ValueError, match=r"Received: devices=\[\]"):
        make_strategy([])


def test_unknown_device_is_refused():
    if keras.backend.backend() == "torch":
        pytest.skip("has no strategy")
    with pytest.raises(ValueError, match="Received: devices=.'GPU:99'"):
        make_strategy(["GPU:99"])


@tensorflow_only
@pytest.mark.parametrize("text", ["{", "[]", '{"cluster": {"worker": 2}}'])
def test_broken_tf_config_is_refused(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="Received: TF_CONFIG="):
        make_strategy()


@tensorflow_only
@pytest.mark.parametrize(
    "jobs", [{"worker": ["host:1"]}, {"chief": ["host:1"]}, {}]
)
def test_one_worker_needs_no_strategy(jobs, monkeypatch):
    job = next(iter(jobs), "worker")
    config = {"cluster": jobs, "task": {"type": job, "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert num_replicas(make_strategy()) == 1


@pytest.fixture
def made(monkeypatch):
    """Makes the strategies of TensorFlow give their class and devices."""
    monkeypatch.setattr(
        strategy_module, "_for_keras", lambda cls: lambda *names: (cls, *names)
    )
    monkeypatch.setattr(strategy_module, "num_replicas", lambda strategy: 1)


def set_jobs(monkeypatch, **jobs):
    config = {"cluster": jobs, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))


@tensorflow_only
@pytest.mark.parametrize(
    "jobs, several",
    [
        ({"worker": ["a:1", "b:1"]}, True),
        ({"chief": ["a:1"], "worker": ["b:1"]}, True),
        # Others do not train.
        ({"worker": ["a:1"], "ps": ["b:1"], "evaluator": ["c:1"]}, False),
    ],
)
def test_chief_and_workers_train(jobs, several, made, monkeypatch):
    import tensorflow as tf

    set_jobs(monkeypatch, **jobs)
    if not several:
        assert make_strategy() is tf.distribute.get_strategy()
        return
    assert make_strategy() == (tf.distribute.MultiWorkerMirroredStrategy,)
    with pytest.raises(
        ValueError, match="Received: devices=.'CPU:0'., and TF_C"
    ):
        make_strategy(["CPU:0"])


@tensorflow_only
def test_a_tpu_that_is_named_trains(monkeypatch):
    import tensorflow as tf

    resolver = tf.distribute.cluster_resolver.TPUClusterResolver
    monkeypatch.setenv("TPU_NAME", "local")
    monkeypatch.setattr(resolver, "connect", lambda: "resolver")
    monkeypatch.setattr(tf.distribute, "TPUStrategy", lambda x: ("TPU", x))
    monkeypatch.setattr(strategy_module, "num_replicas", lambda strategy: 8)
    assert make_strategy() == ("TPU", "resolver")


@tensorflow_only
@pytest.mark.parametrize(
    "known, used",
    [("GGC", ["GPU:0", "GPU:1"]), ("CC", ["CPU:0", "CPU:1"]), ("GCC", None)],
)
def test_all_devices_are_used_and_gpus_before_others(
    known, used, made, monkeypatch
):
    import tensorflow as tf

    kinds = [{"G": "GPU", "C": "CPU"}[x] for x in known]
    devices = [
        types.SimpleNamespace(
            name=f"/device:{kind}:{kinds[:i].count(kind)}", kind=kind
        )
        for i, kind in enumerate(kinds)
    ]
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setattr(
        tf.config,
        "list_logical_devices",
        lambda kind=None: [x for x in devices if kind in (None, x.kind)],
    )
    mirrored = tf.distribute.MirroredStrategy
    if used is None:
        assert make_strategy() is tf.distribute.get_strategy()
    else:
        names = [f"/device:{name}" for name in used]
        assert make_strategy() == (mirrored, names)
    # Those that are named, in any case.
    assert make_strategy(["cpu:0"]) == (mirrored, ["cpu:0"])


@pytest.mark.parametrize(
    "task, number, jobs, expected",
    [
        (None, None, (), True),
        ("", 0, (), True),
        ("worker", 0, ("worker",), True),
        ("worker", 1, ("worker",), False),
        ("chief", 0, ("chief", "worker"), True),
        ("worker", 0, ("chief", "worker"), False),
        ("evaluator", 0, ("worker", "evaluator"), False),
    ],
)
def test_one_process_writes(task, number, jobs, expected):
    resolver = None
    if task is not None:
        resolver = types.SimpleNamespace(
            task_type=task,
            task_id=number,
            cluster_spec=lambda: types.SimpleNamespace(jobs=jobs),
        )
    assert is_chief(types.SimpleNamespace(cluster_resolver=resolver)) is (
        expected
    )


@tensorflow_only
@pytest.mark.parametrize(
    "workers, operation, values, axis, expected",
    [
        (False, "SUM", [[1.0], [2.0]], None, None),
        (False, "MEAN", [[1.0], [2.0]], 0, 0),
        (False, "MEAN", [[1], [2]], 0, 0),
        # No sum of these; along an axis the devices have one.
        (False, "SUM", [[1.0], [2.0, 3.0]], None, [1.0]),
        (False, "SUM", [[1.0], [2.0, 3.0]], 0, 0),
        (True, "MEAN", [[1], [2]], 0, [1]),
        (True, "SUM", [[1], [2]], 0, 0),
        (True, "MEAN", [[1.0], [2.0]], 0, 0),
        # A metric has no such axis.
        (True, "MEAN", [1.0, 2.0], 0, None),
        (False, "MEAN", [1.0, 2.0], 0, 0),
    ],
)
def test_keras_reductions(workers, operation, values, axis, expected):
    import tensorflow as tf

    kind = tf.distribute.MirroredStrategy
    if workers:
        kind = tf.distribute.MultiWorkerMirroredStrategy

    class Base(kind):
        def __init__(self):
            pass

        def experimental_local_results(self, value):
            return [tf.constant(x) for x in values]

        def reduce(self, operation, value, axis):
            return axis

    strategy = strategy_module._for_keras(Base)()
    for name in (operation, tf.distribute.ReduceOp[operation]):
        found = strategy.reduce(name, "value", axis)
        if isinstance(expected, list):
            found = found.numpy().tolist()
        assert found == expected


@pytest.mark.parametrize("task", [None, "", "worker"])
def test_workers_agree_by_a_sum(task):
    resolver = task if task is None else types.SimpleNamespace(task_type=task)

    class Strategy:
        cluster_resolver = resolver

        def run(self, function):
            return function()

        def reduce(self, operation, value, axis):
            assert (operation, axis) == ("SUM", None)
            return value + self.others

    strategy = Strategy()
    for others in (0.0, 1.0):
        strategy.others = others
        agree = any_worker(strategy)
        for flag in (True, False):
            expected = flag or bool(task and others)
            assert agree(flag) is expected


JAX = """
import keras, numpy as np
from keras_epsanet.training import SGDL2, is_chief, make_strategy, num_replicas

for devices in (["cpu:0"], None):
    strategy = make_strategy(devices)
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(8, activation="tanh"),
             keras.layers.BatchNormalization(), keras.layers.Dense(3)])
        model.compile(SGDL2(0.1, global_clipnorm=0.1), "mse")
    random = np.random.default_rng(0)
    x, y = random.normal(size=(80, 4)), random.normal(size=(80, 3))
    model.fit(x, y, batch_size=8, verbose=0, shuffle=False)
    number = num_replicas(strategy)
    print(number, is_chief(strategy),
          keras.distribution.distribution() is strategy,
          len(model.weights[0].value.sharding.device_set))
    np.savez(f"{number}.npz", *[np.array(w) for w in model.get_weights()])
"""


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="a process of JAX"
)
def test_jax_divides_batches_among_its_devices(run_python, tmp_path):
    output = run_python(
        JAX,
        KERAS_BACKEND="jax",
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
    )
    assert output.splitlines() == [
        "1 True False 1",
        "2 devices train in one process: nothing in the environment names "
        "others.",
        "2 True True 2",
    ]
    # Measured: 6e-8, in float32.
    assert_close(
        dict(np.load(tmp_path / "2.npz")),
        dict(np.load(tmp_path / "1.npz")),
        2e-6,
    )


@tensorflow_only
@pytest.mark.parametrize(
    "devices, variables, line",
    [
        (1, {}, ""),
        (2, {}, "2 devices train in one process: nothing in the env"),
        (1, {"SLURM_NTASKS": "4"}, "1 device trains in one process: Slurm has"),
    ],
)
def test_what_trains_is_printed_where_it_may_surprise(
    devices, variables, line, monkeypatch, capsys
):
    for name in ("TF_CONFIG", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(strategy_module, "num_replicas", lambda _: devices)
    monkeypatch.setattr(
        strategy_module, "_make_strategy_of_machine", lambda _: "made"
    )
    assert make_strategy() == "made"
    text = capsys.readouterr().out
    assert text.startswith(line) and bool(text) == bool(line)


@tensorflow_only
@pytest.mark.parametrize("variable", ["TF_CONFIG", strategy_module.SLURM])
def test_workers_are_found_by_what_names_them(variable, made, monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(
        strategy_module,
        "_for_keras",
        lambda cls: lambda **options: (cls, options),
    )
    monkeypatch.setattr(
        strategy_module.slurm, "make_resolver", lambda: "resolver"
    )
    cluster = types.SimpleNamespace(variable=variable)
    found, options = strategy_module._make_workers_strategy(cluster)
    assert found is tf.distribute.MultiWorkerMirroredStrategy
    by_slurm = {"cluster_resolver": "resolver"}
    assert options == (by_slurm if variable == strategy_module.SLURM else {})
