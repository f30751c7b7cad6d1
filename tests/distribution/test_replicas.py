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


STATISTICS = """
import keras, numpy as np, tensorflow as tf

from keras_epsanet.distribution.replicas import share_statistics
from keras_epsanet.layers import BatchNormalization

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, 3 * [tf.config.LogicalDeviceConfiguration()]
)
strategy = tf.distribute.MirroredStrategy([f"/cpu:{i}" for i in range(3)])
with strategy.scope():
    frozen = BatchNormalization(trainable=False)
    layers = [frozen, BatchNormalization(), keras.layers.BatchNormalization()]
    image = keras.Input((4, 4, 3))
    outputs = keras.layers.Average()([layer(image) for layer in layers])
    model = keras.Model(image, outputs)
    model.compile("sgd", "mse")
frozen.moving_mean.assign([0.1, 0.7, 1.3])
x = np.random.default_rng(0).normal(size=(6, 4, 4, 3)).astype("float32")
model.fit(x, x, batch_size=6, epochs=2, verbose=0)

def local(layer):
    variables = layer.moving_mean, layer.moving_variance
    return np.array([
        [part.numpy() for part in strategy.experimental_local_results(v.value)]
        for v in variables
    ])

before = [local(layer) for layer in layers]
share_statistics(model)
after = [local(layer) for layer in layers]
np.testing.assert_array_equal(after[0], before[0])  # Bit for bit.
for old, new in zip(before[1:], after[1:]):
    assert np.ptp(old, axis=1).max() > 1e-3
    means = old.mean(axis=1, keepdims=True)
    # Means near zero have the round-off of the numbers that cancel.
    np.testing.assert_allclose(
        new, np.tile(means, (3, 1)), rtol=0, atol=1e-6 * np.abs(old).max()
    )
    np.testing.assert_array_equal(new, new[:, :1].repeat(3, axis=1))
"""


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="replicas of TensorFlow"
)
def test_all_replicas_get_the_means_of_the_statistics(run_python):
    run_python(STATISTICS)


REDUCED = """
import tensorflow as tf
from keras_epsanet.distribution import replicas

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    2 * [tf.config.LogicalDeviceConfiguration()],
)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

@tf.function
def reduce():
    def run():
        number, count = replicas.replica()
        values = [tf.cast(number + x, dtype) for x, dtype in (
            (1, "float32"), (10, "float64"), (100, "float32")
        )]
        return [tf.constant(count), *replicas.sum_over_replicas(values)]

    return strategy.run(run)

for values in reduce():
    found = strategy.experimental_local_results(values)
    print(*(f"{x.dtype.name}:{x.numpy():g}" for x in found))
print(replicas.replica())
"""


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="replicas of TensorFlow"
)
def test_sums_of_several_precisions_come_in_their_order(run_python):
    assert run_python(REDUCED).splitlines() == [
        "int32:2 int32:2",
        "float32:3 float32:3",
        "float64:21 float64:21",
        "float32:201 float32:201",
        "(0, 1)",
    ]


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_have_one_program(backend, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    assert replicas.current_strategy() is None
    assert replicas.replica() == (0, 1)
    gradients = [object(), object()]
    assert replicas.sum_over_replicas(iter(gradients)) == gradients
    assigned = []
    variable = types.SimpleNamespace(assign=assigned.append)
    replicas.assign_on_replicas([(variable, 3), (variable, 4)])
    assert assigned == [3, 4]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"distribute_strategy": types.SimpleNamespace(num_replicas_in_sync=1)},
    ],
)
def test_one_device_shares_nothing(options):
    # Neither its layers nor its variables are looked at.
    model = types.SimpleNamespace(**options)
    replicas.share_statistics(model)
    replicas.share_means(model, None)
