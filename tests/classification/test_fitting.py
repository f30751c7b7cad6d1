import csv
import os
import signal

import keras
import numpy as np
import pytest

from keras_epsanet import training
from keras_epsanet.classification import fitting, models, run_folder
from keras_epsanet.classification.batches import (
    evaluation_batches,
    steps_per_epoch,
)
from keras_epsanet.classification.sources import Images

if keras.backend.backend() != "tensorflow":
    pytest.skip("the pipeline needs TensorFlow", allow_module_level=True)


def plain(weights, input_tensor, classes, **_):
    """A network of a few operations, for here the training is what counts."""
    x = keras.layers.AveragePooling2D(4)(input_tensor)
    x = keras.layers.Conv2D(4, 3, name="conv1_conv")(x)
    x = keras.layers.BatchNormalization(name="conv1_bn")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(classes, name="predictions")(x)
    network = keras.Model(keras.utils.get_source_inputs(input_tensor), x)
    if weights is not None:
        source = keras.saving.load_model(weights, compile=False)
        network.set_weights(source.get_weights())
    return network


@pytest.fixture(autouse=True)
def plain_network(monkeypatch, smallest_network):
    monkeypatch.setitem(models.MODELS, "tiny", plain)


class Never:
    requested = False


class After:
    """Is interrupted after a step."""

    def __init__(self, state, step):
        self.state, self.step = state, step

    @property
    def requested(self):
        return self.state.step >= self.step


@pytest.fixture
def train(tmp_path, recipe, dataset):
    """Function that trains 10 images in a folder, up to a step or the end."""
    images = Images(dataset(10), dataset(5), "noise")

    def run(name, stop=None, weights=None, **fields):
        options = recipe(**fields)
        path = tmp_path / name
        keras.utils.set_random_seed(0)
        classifier = models.build_classifier(
            options, images.class_names, weights
        )
        steps = steps_per_epoch(images.train, options)
        model = models.compile_trained_part(classifier, options, steps)
        model.run_eagerly = True  # To trace it would take longer.
        folder = run_folder.open_run(path, options, images)
        folder.average = training.make_average(model, options)
        state = folder.restore(model, steps, average=folder.average)
        evaluation = evaluation_batches(images.held_out, options)
        if weights is not None and not state.step:
            fitting.keep_start(
                model, folder, state, evaluation, folder.average
            )
        interruption = Never() if stop is None else After(state, stop)
        arguments = (model, images.train, evaluation, folder, state)
        try:
            fitting.fit(*arguments, interruption, 100, folder.average)
        except SystemExit:
            assert stop is not None
        return classifier, model, folder, state

    return run


def log(folder):
    with open(f"{folder.path}/log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    timed = ("images_per_second", "input_wait", "timed_steps")
    return [{k: v for k, v in x.items() if k not in timed} for x in rows]


def values(model, average=None):
    """The state of a training: weights, optimizer and average."""
    if average:
        average.swap_out()
    variables = [*model.weights, *model.optimizer.variables]
    variables += average.variables if average else []
    return [np.array(x) for x in variables]


def test_a_training_goes_on_as_if_it_had_not_stopped(train):
    fields = {"flip": True, "ema": 0.5}
    _, whole, folder, _ = train("whole", **fields)
    # In an epoch, at its end, and in the next.
    for stop in (1, 3, 5):
        _, _, _, state = train("part", stop=stop, **fields)
        assert state.step == stop
    _, model, other, state = train("part", **fields)
    assert state.step == 6
    expected = values(whole, folder.average)
    for value, expected in zip(
        values(model, other.average), expected, strict=True
    ):
        np.testing.assert_array_equal(value, expected)
    assert log(other) == log(folder)
    assert [row["epoch"] for row in log(folder)] == ["0", "1"]


def test_a_finished_training_goes_on_with_more_epochs(train):
    train("run", schedule="step")
    _, model, folder, state = train("run", schedule="step", epochs=3)
    assert state.step == 9 and len(log(folder)) == 3
    _, whole, _, _ = train("whole", schedule="step", epochs=3)
    for value, expected in zip(values(model), values(whole), strict=True):
        np.testing.assert_array_equal(value, expected)


def test_the_best_epoch_is_restored_with_its_average(train):
    classifier, model, folder, state = train(
        "run", epochs=3, learning_rate=0.5, ema=0.5
    )
    best = max(log(folder), key=lambda row: float(row["val_top1"]))
    epoch = int(best["epoch"]) + 1
    assert state.best_step == 3 * epoch
    average = folder.average
    folder.restore(model, 3, step=state.best_step, average=average)
    averages = [np.array(x) for x in average.variables[:-2]]
    folder.restore(model, 3, average=average)
    fitting.restore_best(model, folder, state, average)
    # BatchNorm's statistics are among them.
    for weight, average in zip(classifier.weights, averages, strict=True):
        np.testing.assert_array_equal(weight.numpy(), average)


def test_fine_tuning_never_ends_below_its_start(train, tmp_path):
    classifier, *_ = train("first")
    classifier.save(tmp_path / "start.keras")
    start = [weight.numpy() for weight in classifier.weights]
    classifier, model, folder, state = train(
        "second",
        weights=tmp_path / "start.keras",
        learning_rate=1e4,  # Which spoils what it had learned.
        epochs=1,
        clipnorm=1.0,
        ema=0.9,
    )
    before = [weight.numpy() for weight in classifier.weights]
    assert any((x != y).any() for x, y in zip(before, start))
    state.best_step = 0
    fitting.restore_best(model, folder, state, folder.average)
    for weight, expected in zip(classifier.weights, start, strict=True):
        np.testing.assert_array_equal(weight.numpy(), expected)


def test_the_start_is_the_best_until_an_epoch_is_better(train, tmp_path):
    classifier, *_ = train("first")
    classifier.save(tmp_path / "start.keras")
    images = {"weights": tmp_path / "start.keras", "epochs": 1}
    _, model, folder, state = train("second", stop=1, **images)
    assert state.best_step == 0
    assert folder.steps() == [1, 0]
    _, _, _, state = train("second", **images)
    better = float(log(folder)[0]["val_top1"]) > state.best_value
    assert state.best_step == 0 and not better or state.best_step == 3


def test_patience_ends_a_training_that_gets_no_better(train):
    # A rate of nearly nothing: the first epoch is the best.
    *_, folder, state = train(
        "run", epochs=9, patience=2, learning_rate=1e-30
    )
    assert state.step == 9 and len(log(folder)) == 3
    *_, state = train("run", epochs=9, patience=2, learning_rate=1e-30)
    assert state.step == 9


@pytest.fixture
def interruption():
    interruption = fitting.Interruption()
    yield interruption
    interruption.stop()


def test_ctrl_c_asks_once_and_then_insists(interruption, capfd):
    os.kill(os.getpid(), signal.SIGINT)
    assert interruption.requested and interruption.exit_code == 130
    assert "Saving after this step" in capfd.readouterr().err
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_sigterm_asks_too(interruption):
    os.kill(os.getpid(), signal.SIGTERM)
    assert interruption.requested and interruption.exit_code == 75


def test_signals_mean_what_they_meant_in_the_end():
    before = [signal.getsignal(x) for x in (signal.SIGINT, signal.SIGTERM)]
    fitting.Interruption().stop()
    after = [signal.getsignal(x) for x in (signal.SIGINT, signal.SIGTERM)]
    assert after == before
