import os

import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet.training import SGDL2, LossScale, WeightAverage

STEPS = 6
X = np.random.default_rng(0).normal(size=(4 * STEPS, 3)).astype("float32")
Y = np.eye(2)[np.arange(4 * STEPS) % 2].astype("float32")


def make_model(optimizer=None):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, name="frozen", trainable=False),
            keras.layers.BatchNormalization(momentum=0.5),
            keras.layers.Dense(2),
        ]
    )
    model.compile(
        optimizer or SGDL2(0.05),
        "mse",
        run_eagerly=keras.backend.backend() == "tensorflow",
    )
    return model


def values(variables):
    return [np.copy(ops.convert_to_numpy(v)) for v in variables]


class Recorder(keras.callbacks.Callback):
    """Keeps the weights of the training at its start and after each step."""

    weights = ()

    def on_epoch_begin(self, epoch, logs=None):
        self.weights = self.weights or [values(self.model.weights)]

    def on_train_batch_end(self, batch, logs=None):
        self.weights.append(values(self.model.weights))


def fit(model, *callbacks, epochs=1, **arguments):
    model.fit(
        X,
        Y,
        batch_size=4,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
        **arguments,
    )


def averaged(weights, decay):
    """The average by its definition, of lists of arrays."""
    mean, *steps = weights
    for i, step in enumerate(steps):
        d = min(decay, (1 + i) / (10 + i))
        mean = [d * a + (1 - d) * w for a, w in zip(mean, step)]
    return mean


def assert_close(actual, expected, tolerance=1e-6):
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def assert_equal(actual, expected):
    assert_close(actual, expected, 0)


@pytest.mark.parametrize("decay", [0.2, 0.9999])
@pytest.mark.parametrize("optimizer", [SGDL2, keras.optimizers.Adam])
def test_weights_and_statistics_are_averaged_after_a_warm_up(decay, optimizer):
    model, recorder = make_model(optimizer(0.05)), Recorder()
    fit(model, WeightAverage(model, decay), recorder, epochs=2)
    # `fit` ends with the average.
    assert len(recorder.weights) == 2 * STEPS + 1
    assert_close(values(model.weights), averaged(recorder.weights, decay))
    names = {w.name for w in model.weights}
    assert names >= {"kernel", "gamma", "moving_mean", "moving_variance"}


def test_what_does_not_change_keeps_its_value_bit_for_bit():
    model = make_model()
    frozen = model.get_layer("frozen").kernel
    frozen.assign(np.random.default_rng(0).normal(size=(3, 4)))
    before = values([frozen])
    fit(model, WeightAverage(model, 0.9))
    assert_equal(values([frozen]), before)


@pytest.mark.parametrize("was_trained", [False, True])
def test_only_updates_count_where_gradients_are_accumulated(was_trained):
    model = make_model(SGDL2(0.05, gradient_accumulation_steps=3))
    if was_trained:
        fit(model)
    recorder = Recorder()
    fit(model, WeightAverage(model, 0.9), recorder)
    updated = [recorder.weights[i] for i in (0, 3, 6)]
    assert_close(values(model.weights), averaged(updated, 0.9))


def test_a_step_that_the_loss_scale_leaves_out_does_not_count():
    optimizer = LossScale(SGDL2(0.05), initial_scale=2.0**127)
    model, recorder = make_model(optimizer), Recorder()
    model.layers[-1].bias.assign([3.0, -3.0])  # For a loss of about 10.
    average = WeightAverage(model, 0.9)
    fit(model, average, recorder)
    done = int(optimizer.iterations)
    assert 0 < done < STEPS
    assert int(average.variables[-2]) == done
    updated = recorder.weights[:1] + recorder.weights[-done:]
    assert_close(values(model.weights), averaged(updated, 0.9))


def test_the_weights_of_the_training_are_as_without_an_average():
    plain, expected = make_model(), Recorder()
    fit(plain, expected, epochs=2, validation_data=(X, Y))
    model, recorder = make_model(), Recorder()
    average = WeightAverage(model, 0.9)
    fit(model, average, recorder, epochs=2, validation_data=(X, Y))
    for step, other in zip(recorder.weights, expected.weights, strict=True):
        assert_equal(step, other)
    average.swap_out()
    assert_equal(values(model.weights), values(plain.weights))
    average.swap_in()
    assert_equal(values(model.weights), values(average.variables[:-2]))


def test_the_average_is_evaluated():
    model = make_model()
    fit(model, WeightAverage(model, 0.9), validation_data=(X, Y))
    (logged,) = model.history.history["val_loss"]
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(logged, rel=1e-6)


def test_another_fit_goes_on_with_the_weights_of_the_training():
    whole, parts = make_model(), make_model()
    fit(whole, WeightAverage(whole, 0.9), epochs=3)
    average = WeightAverage(parts, 0.9)
    fit(parts, average)
    fit(parts, average, epochs=3, initial_epoch=1)
    assert_equal(values(parts.weights), values(whole.weights))


def test_weights_that_were_loaded_in_between_are_trained():
    model, recorder = make_model(), Recorder()
    average = WeightAverage(model, 0.9)
    fit(model, average)
    zeros = [np.zeros_like(w) for w in values(model.weights)]
    model.set_weights(zeros)
    fit(model, average, recorder)
    assert_equal(recorder.weights[0], zeros)


def test_weights_loaded_after_its_making_start_the_average():
    model, recorder = make_model(), Recorder()
    average = WeightAverage(model, 0.9)
    model.set_weights([w + 1 for w in values(model.weights)])
    fit(model, average, recorder)
    assert_close(values(model.weights), averaged(recorder.weights, 0.9))


class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = batch == 2


def test_a_training_that_stops_in_an_epoch_ends_with_the_average():
    model, recorder = make_model(), Recorder()
    average = WeightAverage(model, 0.9)
    fit(model, average, recorder, Stop(), epochs=5, validation_data=(X, Y))
    assert len(recorder.weights) == 4
    assert_close(values(model.weights), averaged(recorder.weights, 0.9))


def test_early_stopping_restores_the_best_average():
    class Worse(keras.callbacks.Callback):
        """Takes the second epoch for the best of all."""

        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = [3.0, 1.0, 2.0, 2.0][epoch]
            kept.append(values(self.model.weights))

    kept = []
    model = make_model()
    early = keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    average = WeightAverage(model, 0.9)
    fit(model, average, Worse(), early, epochs=9, validation_data=(X, Y))
    assert len(kept) == 4
    assert_equal(values(model.weights), kept[1])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_floats_are_averaged_in_float32(dtype):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2, dtype=dtype)]
    )
    model.compile(SGDL2(0.05), "mse")
    average = WeightAverage(model, 0.9999)
    assert {v.dtype for v in average.variables} == {"float32", "int32"}
    fit(model, average)
    assert model.weights[0].dtype == dtype
    fit(model, average)  # It finds its own average, rounded.
    average.swap_out()


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_for_a_while_the_weights_of_the_training_are_there(in_place, fails):
    model, recorder = make_model(), Recorder()
    average = WeightAverage(model, 0.9)
    fit(model, average, recorder)
    if not in_place:
        average.swap_out()
    before = values(model.weights)
    try:
        with average.swapped_out():
            assert not average.is_in_place
            assert_equal(values(model.weights), recorder.weights[-1])
            if fails:
                raise OSError
    except OSError:
        assert fails
    assert average.is_in_place == in_place
    assert_equal(values(model.weights), before)


def test_weights_are_swapped_once_however_often_it_is_asked_for():
    model, recorder = make_model(), Recorder()
    average = WeightAverage(model, 0.9)
    fit(model, average, recorder)
    average.swap_in()
    assert_equal(values(model.weights), values(average.variables[:-2]))
    for _ in range(2):
        average.swap_out()
        assert_equal(values(model.weights), recorder.weights[-1])


@pytest.mark.parametrize("decay", [-0.1, 1, float("nan"), "0.9"])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match=f"Received: decay={decay}"):
        WeightAverage(make_model(), decay)


def test_a_model_without_weights_is_refused():
    model = keras.Sequential([keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="Received: model=<Sequential"):
        WeightAverage(model, 0.9)


def train_in(scope):
    with scope:
        model, recorder = make_model(), Recorder()
        average = WeightAverage(model, 0.9)
    model.run_eagerly = False
    fit(model, average, recorder, validation_data=(X, Y))
    assert_close(values(model.weights), averaged(recorder.weights, 0.9))
    average.swap_out()
    assert_equal(values(model.weights), recorder.weights[-1])


tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="devices of TensorFlow"
)


@tensorflow_only
def test_the_variables_of_a_strategy_are_averaged():
    import tensorflow as tf

    train_in(tf.distribute.MirroredStrategy(["CPU:0"]).scope())


DEVICES = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
import test_average
from keras_epsanet import training
strategy = training.make_strategy()
test_average.train_in(strategy.scope())
print(training.num_replicas(strategy))
"""


@pytest.mark.large
@tensorflow_only
def test_several_devices_have_one_average(run_python):
    path = os.pathsep.join([os.getcwd(), os.path.dirname(__file__)])
    assert run_python(DEVICES, PYTHONPATH=path).split()[-1] == "2"
