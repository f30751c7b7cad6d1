import os
import warnings

import keras
import numpy as np
import pytest

from keras_epsanet import storage, training
from keras_epsanet.training import SGDL2, ImageNetRecipe, logs

tf = pytest.importorskip("tensorflow")

STEPS = 5
RECIPE = ImageNetRecipe(epochs=3, batch_size=4, decay_epochs=1)


def make_model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    # Sooner than the tracing of so few steps.
    eagerly = keras.backend.backend() == "tensorflow"
    model.compile(SGDL2(0.05), "mse", run_eagerly=eagerly)
    return model


def batches():
    batch = tf.ones((4, 3)), tf.zeros((4, 2))
    options = tf.data.Options()
    # An element that is made ahead of time may fall into either epoch.
    options.experimental_optimization.inject_prefetch = False
    dataset = tf.data.Dataset.from_tensors(batch).repeat()
    return dataset.with_options(options)


class Clock:
    """Tells only the seconds that tests let pass."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(logs.time, "monotonic", lambda: self.now)

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_the_log_has_rate_speed_and_input_wait(tmp_path, clock):
    def slowly(x, y):
        tf.numpy_function(lambda: clock.sleep(0.25), [], [])
        return x, y

    class Compute(keras.callbacks.Callback):
        seconds = 500  # Of the first step, which is not timed.

        def on_train_batch_begin(self, batch, logs=None):
            clock.sleep(self.seconds)
            self.seconds = 0.75

    data, waited = training.timed_input(batches().map(slowly))
    model = make_model()
    history = model.fit(
        data,
        epochs=2,
        steps_per_epoch=STEPS,
        verbose=0,
        callbacks=[
            Compute(),
            training.EpochLog(training.make_schedule(RECIPE, STEPS), 4, waited),
            training.ScalarEvents(str(tmp_path)),
        ],
    ).history
    peak = RECIPE.peak_learning_rate
    np.testing.assert_allclose(history["learning_rate"], [peak, peak / 10])
    assert history["timed_steps"] == [STEPS - 1, STEPS]
    # An element of four images takes a second.
    np.testing.assert_allclose(history["images_per_second"], [4, 4])
    np.testing.assert_allclose(history["input_wait"], [0.25, 0.25])
    events = read_events(tmp_path / "train")
    assert set(events) == {f"epoch_{name}" for name in history}
    np.testing.assert_allclose(
        events["epoch_loss"], list(enumerate(history["loss"])), rtol=1e-6
    )


def test_a_pause_that_is_not_of_the_input_is_no_wait(clock):
    data, waited = training.timed_input(batches())
    history = (
        make_model()
        .fit(
            data,
            steps_per_epoch=STEPS,
            verbose=0,
            callbacks=[
                keras.callbacks.LambdaCallback(
                    on_train_batch_begin=lambda batch, logs: (
                        clock.sleep(9) if batch == 1 else None
                    )
                ),
                training.EpochLog(
                    training.make_schedule(RECIPE, STEPS), 4, waited
                ),
            ],
        )
        .history
    )
    assert history["input_wait"] == [0]
    np.testing.assert_allclose(
        history["images_per_second"], [4 * (STEPS - 1) / 9]
    )


def read_events(folder):
    """Returns a dictionary from names to lists of steps and values."""
    (file,) = map(str, folder.iterdir())
    found = {}
    for record in tf.data.TFRecordDataset(file).as_numpy_iterator():
        event = tf.compat.v1.Event.FromString(record)
        for value in event.summary.value:
            number = float(tf.make_ndarray(value.tensor))
            found.setdefault(value.tag, []).append((event.step, number))
    return found


def test_events_of_the_evaluation_have_a_folder_of_their_own(tmp_path):
    events = training.ScalarEvents(str(tmp_path))
    for epoch in range(2):
        logs = {"loss": 1.0 + epoch, "val_loss": 3.0, "value": 4.0}
        events.on_epoch_end(epoch, logs)
    assert read_events(tmp_path / "train") == {
        "epoch_loss": [(0, 1.0), (1, 2.0)],
        "epoch_value": [(0, 4.0), (1, 4.0)],
    }
    assert read_events(tmp_path / "validation") == {
        "epoch_loss": [(0, 3.0), (1, 3.0)]
    }


def test_the_wait_of_the_evaluation_is_not_that_of_the_training(clock):
    waited = 0.0
    schedule = training.make_schedule(RECIPE, STEPS)
    log = training.EpochLog(schedule, 4, lambda: waited)
    log.on_epoch_begin(0)
    for batch in range(3):
        clock.sleep(2)
        waited += 0.5
        log.on_train_batch_end(batch)
    log.on_test_begin()
    waited += 100
    clock.sleep(100)
    log.on_epoch_end(0, logs := {})
    assert logs == {
        "learning_rate": pytest.approx(float(schedule(STEPS - 1))),
        # Of two steps in four seconds, for the first one is not timed.
        "images_per_second": 2,
        "input_wait": 0.25,
        "timed_steps": 2,
    }
    # Of the second epoch all are.
    log.on_epoch_begin(1)
    clock.sleep(4)
    waited += 100
    log.on_train_batch_end(0)
    log.on_epoch_end(1, logs)
    assert (logs["timed_steps"], logs["images_per_second"]) == (1, 1)
    assert logs["input_wait"] == 1


def test_an_epoch_without_a_timed_step_has_no_speed(clock):
    schedule = training.make_schedule(RECIPE, STEPS)
    log = training.EpochLog(schedule, 4, lambda: 0.0)
    log.on_epoch_begin(0)
    log.on_train_batch_end(0)
    log.on_epoch_end(0, logs := {})
    assert logs["timed_steps"] == 0
    # Neither 0, which would be a speed, nor left out of the columns.
    assert np.isnan([logs["images_per_second"], logs["input_wait"]]).all()


def test_lines_of_epochs_to_be_run_again_are_removed(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss\r\n0,0.5\r\n1,0.25\r\n2,0.1\r\n3,0.")
    training.trim_csv(path, epochs=2)
    assert path.read_bytes() == b"epoch,loss\r\n0,0.5\r\n1,0.25\r\n"
    training.trim_csv(tmp_path / "none.csv", epochs=2)


@pytest.mark.parametrize(
    "whole, cut", [("", "epoch,lo"), ("epoch,loss\r\n1,0.5\r\n", "1")]
)
def test_a_line_that_is_cut_off_is_removed(tmp_path, whole, cut):
    """Even where its beginning looks like that of another line."""
    path = tmp_path / "log.csv"
    path.write_text(whole + cut, newline="")
    training.trim_csv(path, epochs=12)
    assert path.read_bytes().decode() == whole


@pytest.mark.large
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="devices of TensorFlow"
)
def test_devices_share_batches_whose_wait_is_measured(run_python):
    output = run_python(
        """
import numpy as np, keras, tensorflow as tf
from keras_epsanet import training
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
strategy = training.make_strategy()
data = tf.data.Dataset.from_tensors((np.ones((8, 2)), np.ones((8, 1))))
data, waited = training.timed_input(data.repeat())
with strategy.scope():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
model.fit(data, steps_per_epoch=3, verbose=0)
print(training.num_replicas(strategy), waited() > 0)
""",
        PYTHONPATH=os.getcwd(),
    )
    assert output.split()[-2:] == ["2", "True"]


def test_the_log_of_a_storage_is_that_of_a_folder(tmp_path):
    paths = f"{tmp_path}/log.csv", f"ram://test_logs/{tmp_path.name}/log.csv"
    tf.io.gfile.makedirs(paths[1].rpartition("/")[0])
    contents = []
    for path in paths:
        for epochs in ((0, 1), (2,)):
            logger = training.csv_logger(path)
            logger.set_model(keras.Sequential())
            logger.on_train_begin()
            for epoch in epochs:
                logs = {"loss": epoch / 4, "val_loss": 1 / 2}
                logger.on_epoch_end(epoch, logs)
                with storage.open_file(path) as file:
                    assert len(file.readlines()) == 2 + epoch
            logger.on_train_end()
        training.trim_csv(path, 2)
        with storage.open_file(path, "rb") as file:
            contents.append(file.read())
    assert contents[0] == contents[1]
    lines = [b"epoch,loss,val_loss", b"0,0.0,0.5", b"1,0.25,0.5"]
    assert contents[0].splitlines() == lines


def test_no_more_than_all_of_the_time_is_waited(clock):
    waited = 0.0
    log = training.EpochLog(
        training.make_schedule(RECIPE, STEPS), 4, lambda: waited
    )
    log.on_epoch_begin(0)
    for batch in range(2):
        clock.sleep(2)
        waited += 3  # Of several threads together.
        log.on_train_batch_end(batch)
    log.on_epoch_end(0, logs := {})
    assert logs["input_wait"] == 1 and logs["images_per_second"] == 2


def test_the_log_of_a_folder_that_was_taken_over_is_left_alone(tmp_path):
    folder = f"ram://test_logs/{tmp_path.name}"
    tf.io.gfile.makedirs(folder)
    loggers = []
    for _ in range(2):
        recipe = ImageNetRecipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # That the folder was another's.
            run = training.RunFolder(folder, recipe)
        logger = training.csv_logger(f"{folder}/log.csv", run.claim)
        logger.set_model(keras.Sequential())
        logger.on_train_begin()
        loggers.append(logger)
    former, owner = loggers
    owner.on_epoch_end(0, {"loss": 0.5, "val_loss": 0.25})
    with pytest.raises(RuntimeError, match="was taken over by process"):
        former.on_epoch_end(0, {"loss": 0.75, "val_loss": 1.0})
    with storage.open_file(f"{folder}/log.csv") as file:
        lines = file.read().splitlines()
    assert lines == ["epoch,loss,val_loss", "0,0.5,0.25"]
