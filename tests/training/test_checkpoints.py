import json
import os
import subprocess

import keras
import numpy as np
import pytest
from keras import ops
from small_runs import checkpoint, make_model, save, train, values

from keras_epsanet.training import (
    SGDL2,
    Recipe,
    RunFolder,
    State,
    WeightAverage,
    checkpoints,
)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gradient_accumulation_steps": 3},
    ],
    ids=["momentum", "accumulation"],
)
def test_all_variables_come_back_and_training_goes_on_the_same(
    tmp_path, options
):
    model = train(make_model(**options), 4)
    save(RunFolder(tmp_path / "run", Recipe()), model, 4)
    copy = make_model(**options)
    state = RunFolder(tmp_path / "run", Recipe()).restore(copy, 10)
    assert state.step == 4
    for _ in range(2):
        for ours, theirs in zip(values(copy), values(model), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        train(model), train(copy)


def test_the_loss_scale_comes_back(tmp_path):
    def build():
        model = make_model()
        model.compile(
            keras.optimizers.LossScaleOptimizer(
                SGDL2(0.1), dynamic_growth_steps=2
            ),
            "categorical_crossentropy",
        )
        return model

    model, copy = train(build(), 5), build()
    run = RunFolder(tmp_path / "run", Recipe())
    save(run, model, 5)
    run.restore(copy, 10)
    assert float(copy.optimizer.dynamic_scale) == 2.0**17
    for ours, theirs in zip(values(copy), values(model), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_state_holds_what_keras_file_lacks(tmp_path):
    run = RunFolder(tmp_path / "run", Recipe(seed=7))
    model = train(make_model())
    save(run, model, 10, 13, metrics=[1.0, [2.0]], best_step=10)
    content = json.loads((checkpoint(tmp_path, 13) / "state.json").read_text())
    assert content["epoch"] == 1 and content["step"] == 13
    assert content["seed"] == content["recipe"]["seed"] == 7
    state = run.restore(make_model(), 10)
    assert (state.metrics, state.best_step) == ([1.0, [2.0]], 10)


def test_sha256sum_verifies_a_checkpoint(tmp_path):
    save(RunFolder(tmp_path / "run", Recipe()), train(make_model()), 1)
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    result = subprocess.run(
        command, cwd=checkpoint(tmp_path, 1), capture_output=True, text=True
    )
    assert result.returncode == 0
    assert sorted(result.stdout.splitlines()) == [
        "model.keras: OK",
        "state.json: OK",
    ]


def test_another_optimizer_is_refused(tmp_path):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    save(run, model, 1)
    with pytest.raises(ValueError, match="Skipping variable loading"):
        run.restore(make_model(gradient_accumulation_steps=3), 10)


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize(
    "part", ["weight", "statistics", "velocity", "average"]
)
def test_a_variable_that_is_not_finite_is_not_saved(tmp_path, part, value):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    average = WeightAverage(model, 0.9)
    save(run, model, 1)
    variable = {
        "weight": model.layers[0].bias,
        "statistics": model.layers[1].moving_variance,
        "velocity": model.optimizer.momentums[1],
        "average": average.variables[1],
    }[part]
    variable.assign([value] + 5 * [0.0])
    match = f"After step 2 the variable {variable.path} is"
    with pytest.raises(FloatingPointError, match=match):
        run.save(model, State(step=2, steps_per_epoch=10), average)
    assert run.steps() == [1]


def make_average(model):
    """An average after a step, in place of the weights."""
    average = WeightAverage(model, 0.5)
    callbacks = keras.callbacks.CallbackList([average], model=model)
    callbacks.on_train_begin()
    train(model)
    callbacks.on_train_batch_end(0)
    average.swap_in()
    return average


def test_the_average_comes_back_beside_the_weights(tmp_path):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    trained = make_model()
    average = make_average(model)
    state = State(step=1, steps_per_epoch=10)
    run.save(model, state, average)
    assert average.is_in_place
    copy = train(make_model(), 3)
    other = make_average(copy)
    run.restore(copy, 10, average=other)
    assert not other.is_in_place
    average.swap_out()
    for ours, theirs in zip(values(copy), values(model), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(other.variables, average.variables, strict=True):
        assert ops.all(ops.equal(ours, theirs))
    # Without an average, the same checkpoint gives the weights alone.
    run.restore(trained, 10)
    for ours, theirs in zip(values(trained), values(model), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_checkpoint_without_the_average_is_refused(tmp_path):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    save(run, model, 1)
    with pytest.raises(ValueError, match="no average .* Received: .*00000001"):
        run.restore(model, 10, average=WeightAverage(model, 0.5))


@pytest.mark.parametrize(
    "step, logs, epoch, logged",
    [
        (0, None, 0, 0),
        (4, None, 0, 0),
        (5, None, 1, 1),
        (5, {"loss": 1.0}, 1, 0),  # Trained, but not evaluated.
        (14, None, 2, 2),
        (15, {}, 3, 2),
    ],
)
def test_epochs_are_logged_when_they_are_evaluated(step, logs, epoch, logged):
    state = State(step=step, steps_per_epoch=5, logs=logs)
    assert (state.epoch, state.logged_epochs) == (epoch, logged)


def test_all_of_a_checkpoint_is_on_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(checkpoints, "sync", synced.append)
    model = train(make_model())
    average = WeightAverage(model, 0.5)
    folder = str(tmp_path / "new")
    checkpoints.write(folder, model, State(), Recipe(), average)
    # The others are written as a whole or not at all.
    names = ("model.keras", "average.npz")
    assert synced == [*(f"{folder}/{name}" for name in names), folder]
    others = ["SHA256SUMS", "state.json"]
    assert sorted(os.listdir(folder)) == sorted([*names, *others])


def test_steps_are_those_of_the_names(tmp_path):
    names = ("step-00000003", "step-123456789", "step-12", "step-00000004.x")
    for name in names:
        (tmp_path / name).mkdir()
    assert checkpoints.find_steps(tmp_path) == [123456789, 3]


def test_a_state_of_before_has_no_logs(tmp_path):
    save(RunFolder(tmp_path / "run", Recipe()), train(make_model()), 4)
    path = checkpoint(tmp_path, 4) / "state.json"
    content = json.loads(path.read_text())
    del content["logs"]
    path.write_text(json.dumps(content))
    found = checkpoints.read_state(path.parent)
    assert found == State(step=4, steps_per_epoch=10)


def test_sums_of_metrics_are_added():
    model = train(make_model())
    before = checkpoints.read_metrics(model)
    json.dumps(before)
    checkpoints.add_to_metrics(model, before)
    after = checkpoints.read_metrics(model)
    assert after == [pytest.approx(2 * np.array(x)) for x in before]
    assert any(np.any(x) for x in before)
    with pytest.raises(ValueError):
        checkpoints.add_to_metrics(model, before[:-1])
