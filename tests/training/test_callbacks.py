import csv
import faulthandler
import os
import signal
import subprocess
import sys
import types

import keras
import numpy as np
import pytest

from keras_epsanet import training
from keras_epsanet.training import (
    SGDL2,
    ImageNetRecipe,
    RunFolder,
    callbacks,
)

tf = pytest.importorskip("tensorflow")

STEPS = 5
RECIPE = ImageNetRecipe(epochs=3, batch_size=4, decay_epochs=1)
X = np.random.default_rng(0).normal(size=(4 * STEPS, 3)).astype("float32")
Y = np.eye(2)[np.arange(4 * STEPS) % 2]


def make_model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(2),
        ]
    )
    model.compile(
        SGDL2(0.05),
        training.make_loss(RECIPE),
        weighted_metrics=[keras.metrics.CategoricalAccuracy(name="top1")],
        # Sooner than the tracing of so few steps.
        run_eagerly=keras.backend.backend() == "tensorflow",
    )
    return model


def batches(first_step=0):
    steps = tf.data.Dataset.range(first_step, 3 * STEPS)
    return steps.map(
        lambda step: (
            tf.constant(X)[(step % STEPS) * 4 :][:4],
            tf.constant(Y)[(step % STEPS) * 4 :][:4],
        )
    ).repeat()


class At(keras.callbacks.Callback):
    """Does something before a step, counted from the start of this `fit`."""

    def __init__(self, step, action):
        super().__init__()
        self.step = step
        self.action = action
        self.steps = 0

    def on_train_batch_begin(self, batch, logs=None):
        if self.steps == self.step:
            self.action(self.model)
        self.steps += 1


def fit(folder, model, *callbacks, interval=2, preemption=None, ema=None):
    """Trains to the end from the last checkpoint, as the script does."""
    run = RunFolder(folder, RECIPE)
    average = training.WeightAverage(model, ema) if ema else None
    state = run.restore(model, STEPS, average=average)
    training.trim_csv(f"{folder}/log.csv", state.epoch)
    while state.epoch < RECIPE.epochs:
        epoch, done = divmod(state.step, STEPS)
        model.fit(
            batches(state.step),
            initial_epoch=epoch,
            epochs=epoch + 1 if done else RECIPE.epochs,
            steps_per_epoch=STEPS - done,
            validation_data=(X, Y),
            verbose=0,
            callbacks=[
                *callbacks,
                *([average] if average else []),
                keras.callbacks.CSVLogger(f"{folder}/log.csv", append=True),
                training.Checkpointing(
                    run, state, interval, preemption, average=average
                ),
            ],
        )
    return run


def read_csv(folder):
    with open(f"{folder}/log.csv", newline="") as file:
        return list(csv.reader(file))


def stop(model):
    raise KeyboardInterrupt


@pytest.fixture(scope="module", params=[None, 0.8], ids=["", "average"])
def whole(request, tmp_path_factory):
    """Share of the average, folder and model of a whole training."""
    folder, model = tmp_path_factory.mktemp("whole"), make_model()
    fit(folder, model, ema=request.param)
    return request.param, folder, model


@pytest.mark.parametrize("step", [3, 5, 14])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    tmp_path, step, whole
):
    ema, folder, model = whole
    part, rest = make_model(), make_model()
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "part", part, At(step, stop), ema=ema)
    fit(tmp_path / "part", rest, ema=ema)
    for expected, weight in zip(model.get_weights(), rest.get_weights()):
        np.testing.assert_array_equal(weight, expected)
    # Loss and accuracy of the interrupted epoch cover all of its steps.
    assert read_csv(tmp_path / "part") == read_csv(folder)


def test_no_more_than_an_interval_is_lost(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, make_model(), At(9, stop), interval=2)
    assert RunFolder(tmp_path, RECIPE).steps() == [8, 6, 5]


def test_a_signal_saves_after_the_step_and_exits_with_75(tmp_path):
    preemption = training.Preemption()
    try:
        with pytest.raises(SystemExit) as caught:
            fit(
                tmp_path,
                make_model(),
                At(7, lambda model: os.kill(os.getpid(), signal.SIGTERM)),
                interval=100,
                preemption=preemption,
            )
    finally:
        preemption.stop()
    assert caught.value.code == 75
    assert RunFolder(tmp_path, RECIPE).steps() == [8, 5]


def test_a_signal_in_the_last_step_of_all_lets_the_training_end(tmp_path):
    last, preemption = RECIPE.epochs * STEPS, training.Preemption()
    kill = At(last - 1, lambda model: os.kill(os.getpid(), signal.SIGTERM))
    try:
        run = fit(tmp_path, make_model(), kill, preemption=preemption)
    finally:
        preemption.stop()
    assert preemption.requested and run.steps()[0] == last


def test_a_signal_in_the_last_step_of_an_epoch_saves_its_end(tmp_path):
    preemption = training.Preemption()
    try:
        with pytest.raises(SystemExit):
            fit(
                tmp_path,
                make_model(),
                At(4, lambda model: os.kill(os.getpid(), signal.SIGTERM)),
                interval=100,
                preemption=preemption,
            )
    finally:
        preemption.stop()
    assert RunFolder(tmp_path, RECIPE).steps() == [5]
    assert [row[0] for row in read_csv(tmp_path)] == ["epoch", "0"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_stops_at_the_named_step(tmp_path, value):
    def spoil(model):
        model.layers[0].kernel.assign_add(np.full((3, 4), value))

    with pytest.raises(FloatingPointError, match="step 8. .* is of step 6"):
        fit(tmp_path, make_model(), At(7, spoil))
    run = RunFolder(tmp_path, RECIPE)
    assert run.steps() == [6, 5, 4]
    model = make_model()
    run.restore(model, STEPS)
    assert np.isfinite(model.predict(X, verbose=0)).all()


def test_weights_that_overflow_in_the_last_step_are_not_saved(tmp_path):
    class Overflow(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations == 6:
                self.model.layers[0].bias.assign(np.full(4, np.inf))

    with pytest.raises(FloatingPointError, match="After step 6 .*bias"):
        fit(tmp_path, make_model(), Overflow())
    assert RunFolder(tmp_path, RECIPE).steps() == [5, 4, 2]


def test_the_best_epoch_is_kept(tmp_path):
    run = RunFolder(tmp_path, RECIPE)
    state = run.restore(make_model(), STEPS)
    checkpointing = training.Checkpointing(run, state, 100)
    checkpointing.set_model(make_model())
    checkpointing.model.optimizer.build(checkpointing.model.trainable_weights)
    for epoch, top1 in enumerate((0.2, 0.7, 0.7, 0.3, 0.3, 0.3)):
        state.step += STEPS
        checkpointing.on_epoch_end(epoch, {"val_top1": top1})
    assert run.steps() == [30, 25, 20, 10]
    state = run.restore(make_model(), STEPS)
    assert (state.best_step, state.best_value) == (10, 0.7)


class Run:
    """Notes what is saved."""

    recipe = RECIPE

    def __init__(self):
        self.saved = []

    def save(self, model, state, average):
        self.saved.append((state.step, state.metrics, average))


class Metric:
    """A mean that has seen a value of 1 in every step."""

    def __init__(self):
        self.variables = [keras.Variable([0.0, 0.0])]


def checkpointing(step=0, metrics=(), interval=100, **options):
    """A callback that saves nothing to the disk, and where it stands."""
    state = training.State(step, STEPS, list(metrics))
    callback = training.Checkpointing(Run(), state, interval, **options)
    callback.set_model(types.SimpleNamespace(metrics=[Metric()]))
    return callback, callback.run.saved, state


def run_steps(callback, epoch, number):
    callback.on_epoch_begin(epoch)
    for batch in range(number):
        variable = callback.model.metrics[0].variables[0]
        variable.assign([1.0 * (batch + 1), 1.0 * (batch + 1)])
        callback.on_train_batch_end(batch, {"loss": 1.0})


def test_metrics_are_saved_in_an_epoch_and_the_average_always():
    callback, saved, state = checkpointing(interval=2, average="average")
    run_steps(callback, 0, STEPS)
    callback.on_epoch_end(0, {})
    assert saved == [
        (2, [[2, 2]], "average"),
        (4, [[4, 4]], "average"),
        (5, [], "average"),
    ]
    # A step that ends an epoch is saved once.
    run_steps(callback, 1, STEPS)
    assert [step for step, *_ in saved[3:]] == [6, 8] and state.step == 10


def test_statistics_are_shared_before_they_are_evaluated_or_saved(monkeypatch):
    seen = []
    monkeypatch.setattr(
        callbacks, "share_statistics", lambda model: seen.append(model)
    )
    callback, saved, _ = checkpointing(interval=2)
    callback.on_test_begin()
    assert seen == [callback.model] and not saved
    callback.run.save = lambda *_: saved.append(len(seen))
    run_steps(callback, 0, 2)
    assert saved == [2]


def test_restored_metrics_are_added_once():
    callback, saved, _ = checkpointing(2, [[7.0, 2.0]], interval=1)
    callback.on_epoch_begin(0)
    variable = callback.model.metrics[0].variables[0]
    for batch in range(2):
        variable.assign_add([1.0, 1.0])
        callback.on_train_batch_end(batch, {"loss": 1.0})
    assert saved == [(3, [[8, 3]], None), (4, [[9, 4]], None)]


@pytest.mark.parametrize("any_other", [True, False])
@pytest.mark.parametrize("requested", [True, False])
def test_all_workers_are_asked_after_every_step(any_other, requested):
    asked = []

    def agree(flag):
        asked.append(flag)
        return flag or any_other

    callback, saved, _ = checkpointing(
        interval=100,
        agree=agree,
        preemption=types.SimpleNamespace(requested=requested),
    )
    if any_other or requested:
        with pytest.raises(SystemExit) as caught:
            run_steps(callback, 0, 2)
        assert caught.value.code == 75 and saved == [(1, [[1, 1]], None)]
        assert asked == [requested]
        with pytest.raises(SystemExit):
            callback.on_epoch_end(RECIPE.epochs - 2, {})
    else:
        run_steps(callback, 0, 2)
        assert asked == [False, False] and not saved
        callback.on_epoch_end(RECIPE.epochs - 2, {})
    # The last epoch ends anyway.
    callback.on_epoch_end(RECIPE.epochs - 1, {})
    assert len(asked) == (2 if any_other or requested else 3)


@pytest.mark.parametrize(
    "monitor, expected",
    [(None, (5, 0.25)), ("val_top5", (10, 0.5)), ("missing", (None, None))],
)
def test_the_best_epoch_has_the_highest_of_what_is_monitored(monitor, expected):
    options = {} if monitor is None else {"monitor": monitor}
    callback, saved, state = checkpointing(interval=100, **options)
    for epoch, values in enumerate([(0.25, 0.25), (0.125, 0.5)]):
        state.step += STEPS
        logs = dict(zip(("val_top1", "val_top5"), map(np.float32, values)))
        callback.on_epoch_end(epoch, logs)
    assert (state.best_step, state.best_value) == expected
    assert state.best_value is None or type(state.best_value) is float
    assert [step for step, *_ in saved] == [5, 10]


def test_the_signal_has_its_former_meaning_in_the_end():
    before = signal.getsignal(signal.SIGTERM)
    preemption = training.Preemption()
    # As TensorFlow's workers do at their start.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    preemption.watch()
    os.kill(os.getpid(), signal.SIGTERM)
    assert preemption.requested
    preemption.stop()
    assert signal.getsignal(signal.SIGTERM) == before


def test_losses_come_as_python_numbers():
    """Keras has waited for them: to look at them costs nothing more."""

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            kinds.append(type(logs["loss"]))

    kinds = []
    model = make_model()
    model.run_eagerly = False
    model.fit(batches(), steps_per_epoch=2, verbose=0, callbacks=[Look()])
    assert kinds == [float, float]


@pytest.fixture
def interruption():
    interruption = training.Interruption()
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
    training.Interruption().stop()
    after = [signal.getsignal(x) for x in (signal.SIGINT, signal.SIGTERM)]
    assert after == before


@pytest.mark.parametrize("kind", [training.Preemption, training.Interruption])
def test_signals_have_their_former_meaning_afterwards(kind):
    numbers = (signal.SIGTERM, signal.SIGINT)
    handlers = [lambda *arguments: None for _ in numbers]
    before = list(map(signal.signal, numbers, handlers))
    try:
        kind().stop()
        assert list(map(signal.getsignal, numbers)) == handlers
    finally:
        for number, handler in zip(numbers, before):
            signal.signal(number, handler)


WATCHED = """
import time
import keras, numpy as np
from keras_epsanet.training import Watchdog

class Slow(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        time.sleep(seconds[batch])

    on_test_batch_begin = on_train_batch_begin

model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
model.compile("sgd", "mse", run_eagerly=keras.backend.backend() != "jax")
x = np.ones((3, 1))
for seconds in (1.2, 1.2, 1.2), (0, 60, 0):
    callbacks = [Watchdog(2.5), Slow()]
    model.fit(x, x, 1, verbose=0, callbacks=callbacks, validation_data=(x, x))
    time.sleep(3)
    print("trained", flush=True)
"""


def test_a_process_without_progress_ends_and_says_where(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", WATCHED],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (result.returncode, result.stdout) == (1, "trained\n")
    assert "Timeout (0:00:02.5" in result.stderr
    assert "in on_train_batch_begin" in result.stderr


def test_a_hang_is_half_an_hour():
    assert training.Watchdog().seconds == 1800


class Logged(keras.callbacks.Callback):
    """Notes what happens, and evaluates."""

    def __init__(self):
        super().__init__()
        self.events = []

    def on_train_begin(self, logs=None):
        self.events.append("train")

    def on_epoch_begin(self, epoch, logs=None):
        self.events.append(("begin", epoch))

    def on_epoch_end(self, epoch, logs=None):
        self.events.append(("end", epoch, dict(logs)))
        logs["val_top1"] = 0.75

    def on_train_end(self, logs=None):
        self.events.append("end of training")


def test_an_epoch_is_saved_before_it_is_evaluated_too():
    callback, saved, state = checkpointing(interval=100, before_evaluation=True)
    logs = []
    callback.run.save = lambda model, state, _: logs.append(
        (state.step, state.logs, state.best_step)
    )
    callback.model.get_metrics_result = lambda: {"loss": np.float32(0.5)}
    callback.on_epoch_begin(0)
    for batch in range(STEPS):
        callback.on_train_batch_end(batch, {"loss": 1.0, "rate": 0.25})
    # With the sums of the metrics as they are now.
    assert logs == [(5, {"loss": 0.5, "rate": 0.25}, None)]
    # As JSON takes them.
    assert {type(value) for value in logs[0][1].values()} == {float}
    assert (state.epoch, state.logged_epochs) == (1, 0)
    callback.on_epoch_end(0, {"val_top1": 0.75})
    assert logs[1:] == [(5, None, 5)] and state.logged_epochs == 1


def test_a_preempted_process_leaves_the_evaluation(monkeypatch):
    callback, saved, state = checkpointing(
        interval=100,
        before_evaluation=True,
        preemption=types.SimpleNamespace(requested=True),
    )
    callback.model.get_metrics_result = dict
    state.step = STEPS - 1
    callback.on_epoch_begin(0)
    with pytest.raises(SystemExit) as caught:
        callback.on_train_batch_end(0, {"loss": 1.0})
    assert caught.value.code == 75 and saved == [(STEPS, [], None)]
    assert state.logs == {"loss": 1.0}


def test_an_epoch_that_was_not_evaluated_is_when_its_training_goes_on():
    callback, saved, state = checkpointing(step=2 * STEPS)
    state.logs = {"loss": 0.5}
    log, model = Logged(), make_model()
    callbacks.end_epoch(model, state, [log, callback])
    assert log.events == [
        "train",
        ("begin", 1),
        ("end", 1, {"loss": 0.5}),
        "end of training",
    ]
    # What was evaluated is known to those behind.
    assert (state.best_step, state.best_value) == (2 * STEPS, 0.75)
    assert state.logs is None and saved == [(2 * STEPS, [], None)]
    callbacks.end_epoch(model, state, [log, callback])
    assert len(log.events) == 4 and len(saved) == 1


def test_an_epoch_that_was_not_evaluated_is_not_the_best():
    callback, saved, state = checkpointing()
    state.best_step, state.best_value = 1, 0.25
    for value, best in ((np.nan, 1), (0.25, 1), (0.5, 9)):
        state.step = 9
        callback.on_epoch_end(0, {"val_top1": value})
        assert state.best_step == best
    assert state.best_value == 0.5
    fresh, _, state = checkpointing()
    fresh.on_epoch_end(0, {"val_top1": np.nan})
    assert state.best_step is state.best_value is None


def test_all_that_ends_is_progress(monkeypatch):
    calls = []
    monkeypatch.setattr(
        callbacks.faulthandler,
        "dump_traceback_later",
        lambda seconds, exit: calls.append((seconds, exit)),
    )
    monkeypatch.setattr(
        callbacks.faulthandler,
        "cancel_dump_traceback_later",
        lambda: calls.append("stop"),
    )
    watchdog = training.Watchdog(7)
    hooks = ("train_begin", "epoch_begin", "test_begin", "test_end")
    for hook in hooks:
        getattr(watchdog, f"on_{hook}")(*([0] if "epoch" in hook else []))
    for hook in ("train_batch_end", "test_batch_end", "epoch_end"):
        getattr(watchdog, f"on_{hook}")(0, {})
    assert calls == 7 * [(7, True)]
    watchdog.on_train_end()
    assert calls[7:] == ["stop"]


def test_an_evaluation_alone_is_watched_to_its_end(monkeypatch):
    calls = []
    monkeypatch.setattr(
        faulthandler,
        "dump_traceback_later",
        lambda seconds, exit: calls.append(seconds),
    )
    monkeypatch.setattr(
        faulthandler,
        "cancel_dump_traceback_later",
        lambda: calls.append("end"),
    )
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    data = {"x": np.ones((2, 1)), "y": np.ones((2, 1)), "verbose": 0}
    watched = {**data, "batch_size": 1, "callbacks": [training.Watchdog(9)]}
    model.evaluate(**watched)
    assert calls == [9, 9, 9, "end"]
    # Within `fit` it goes on behind an evaluation.
    model.fit(**watched, validation_data=(data["x"], data["y"]))
    assert calls[4:].count("end") == 1 and calls[-1] == "end"
    del calls[:]
    model.evaluate(**watched)
    assert calls[-1] == "end"
