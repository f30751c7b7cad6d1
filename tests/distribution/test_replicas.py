import types

import keras
import pytest

from keras_epsanet.distribution import num_replicas, replicas
from keras_epsanet.distribution.replicas import true_on_all_replicas, worker


@pytest.mark.parametrize(
    "strategy, number",
    [
        (None, 1),
        (types.SimpleNamespace(num_replicas_in_sync=3), 3),
        # As Keras' distributions have it.
        (types.SimpleNamespace(num_model_replicas=4), 4),
    ],
)
def test_devices_are_counted(strategy, number):
    assert num_replicas(strategy) == number


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="workers of TensorFlow"
)
@pytest.mark.parametrize(
    "number, workers, devices", [(0, 2, 1), (1, 2, 1), (2, 3, 2)]
)
def test_a_process_of_several_is_told_by_its_first_device(
    number, workers, devices
):
    import tensorflow as tf

    class Strategy(tf.distribute.MultiWorkerMirroredStrategy):
        def __init__(self):
            pass

        num_replicas_in_sync = workers * devices

        def experimental_distribute_values_from_function(self, function):
            return [
                function(types.SimpleNamespace(replica_id_in_sync_group=i))
                for i in range(number * devices, (number + 1) * devices)
            ]

        def experimental_local_results(self, values):
            return values

    assert worker(Strategy()) == (number, workers)


def test_another_strategy_is_of_one_process(monkeypatch):
    strategy = types.SimpleNamespace(num_replicas_in_sync=3)
    assert worker(strategy) == (0, 1)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert worker(strategy) == (0, 1)


@pytest.mark.parametrize(
    "flags", [(True,), (False,), (True, True), (True, False), (False, False)]
)
def test_a_flag_must_be_true_on_all_replicas(flags, monkeypatch):
    given = []
    monkeypatch.setattr(
        replicas, "sum_over_replicas", lambda x: given.append(x) or x
    )
    for flag in flags:
        true_on_all_replicas(keras.ops.convert_to_tensor(flag))
    total = [sum(tensors) for tensors in zip(*given)]
    monkeypatch.setattr(replicas, "sum_over_replicas", lambda _: total)
    for flag in flags:
        found = true_on_all_replicas(keras.ops.convert_to_tensor(flag))
        assert bool(found) == all(flags)
