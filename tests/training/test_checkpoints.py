import json
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_epsanet.training import Recipe, RunFolder, SGDL2, State

if keras.backend.backend() != "tensorflow":
    pytest.skip("trainings run on TensorFlow", allow_module_level=True)

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
Y = np.eye(3)[np.arange(8) % 3]


def make_model(width=6, **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(width),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(
        SGDL2(0.1, **options), "categorical_crossentropy", run_eagerly=True
    )
    return model


def train(model, steps=1):
    for _ in range(steps):
        model.train_on_batch(X, Y)
    return model


def save(run, model, *steps, **state):
    for step in steps:
        run.save(model, State(step=step, steps_per_epoch=10, **state))


def values(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [variable.numpy() for variable in variables]


def checkpoint(tmp_path, step):
    return tmp_path / "run/checkpoints" / f"step-{step:08d}"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_ema": True, "ema_momentum": 0.5},
        {"gradient_accumulation_steps": 3},
    ],
    ids=["momentum", "average", "accumulation"],
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
    save(run, train(make_model()), 13, metrics=[1.0, [2.0]], best_step=10)
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
        "model.keras: OK", "state.json: OK"
    ]


def test_the_last_three_and_the_best_are_kept(tmp_path):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    save(run, model, 10)
    save(run, model, 20, 30, 40, 50, best_step=20)
    assert run.steps() == [50, 40, 30, 20]
    save(run, model, 60, best_step=60)
    assert run.steps() == [60, 50, 40]


def flip_byte(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)


def truncate(folder, name):
    os.truncate(folder / name, (folder / name).stat().st_size // 2)


def delete(folder, name):
    (folder / name).unlink()


@pytest.mark.parametrize(
    "name", ["model.keras", "state.json", "SHA256SUMS"]
)
@pytest.mark.parametrize("damage", [flip_byte, truncate, delete])
def test_of_a_damaged_checkpoint_the_one_before_is_used(tmp_path, name, damage):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    save(run, model, 5)
    expected = values(model)
    save(run, train(model), 6)
    folder = checkpoint(tmp_path, 6)
    damage(folder, name)
    with pytest.warns(UserWarning, match=f"{folder} is damaged .*{name}"):
        state = run.restore(model, 10)
    assert state.step == 5
    for ours, theirs in zip(values(model), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # A new one takes its place.
    save(run, model, 6)
    assert run.restore(make_model(), 10).step == 6


def test_a_damaged_checkpoint_does_not_displace_an_intact_one(tmp_path):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    save(run, model, 1, 2, 3)
    flip_byte(checkpoint(tmp_path, 3), "state.json")
    with pytest.warns(UserWarning, match="is damaged"):
        assert run.restore(model, 10).step == 2
    run.keep = 1
    run.save(model, State(step=2, steps_per_epoch=10))
    assert run.steps() == [2]


def test_without_an_intact_checkpoint_nothing_begins_anew(tmp_path):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    save(run, model, 1)
    truncate(checkpoint(tmp_path, 1), "model.keras")
    with pytest.warns(UserWarning), pytest.raises(
        ValueError, match=r"No checkpoint .* is intact. Received: the steps \[1"
    ):
        run.restore(model, 10)


def test_a_folder_belongs_to_one_recipe(tmp_path):
    RunFolder(tmp_path / "run", Recipe(epochs=90))
    with pytest.raises(
        ValueError, match="Received: epochs: 120, not 90; ema: 0.9, not None"
    ):
        RunFolder(tmp_path / "run", Recipe(ema=0.9))
    RunFolder(tmp_path / "run", Recipe(epochs=90))


def test_other_data_is_refused(tmp_path):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    save(run, model, 1)
    with pytest.raises(ValueError, match="steps_per_epoch=11, not 10"):
        run.restore(model, 11)


def test_another_optimizer_is_refused(tmp_path):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    save(run, model, 1)
    with pytest.raises(ValueError, match="Skipping variable loading"):
        run.restore(make_model(use_ema=True), 10)


def test_a_weight_that_is_not_finite_is_not_saved(tmp_path):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    save(run, model, 1)
    model.layers[0].bias.assign([np.inf] + 5 * [0.0])
    with pytest.raises(FloatingPointError, match="After step 2 .*bias"):
        save(run, model, 2)
    assert run.steps() == [1]


def test_what_a_kill_left_is_removed(tmp_path):
    save(RunFolder(tmp_path / "run", Recipe()), train(make_model()), 1)
    folder = checkpoint(tmp_path, 1)
    shutil.copytree(folder, folder.with_name(".tmp-step-00000002"))
    run = RunFolder(tmp_path / "run", Recipe())
    assert os.listdir(folder.parent) == [folder.name]
    assert run.steps() == [1]


def test_the_exported_file_holds_the_network_alone(tmp_path):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    network = keras.Model(model.inputs, model.outputs)
    digest = run.export(network, "last.weights.h5")
    names = sorted(os.listdir(tmp_path / "run"))
    assert names == ["checkpoints", "last.weights.h5", "recipe.json"]
    assert not run.steps()
    output = subprocess.check_output(
        ["sha256sum", tmp_path / "run/last.weights.h5"], text=True
    )
    assert output.split()[0] == digest
    copy = keras.models.clone_model(network)
    copy.load_weights(tmp_path / "run/last.weights.h5")
    np.testing.assert_array_equal(copy.predict(X), network.predict(X))


FULL_DISK = """
import sys
sys.path[:0] = {path!r}
import resource, signal
import test_checkpoints as t
from keras_epsanet.training import Recipe, RunFolder
model = t.train(t.make_model(width=20000))
run = RunFolder({folder!r}, Recipe())
t.save(run, model, 1)
{limit}
try:
    t.save(run, model, 2)
except OSError as error:
    print(error)
model.layers[0].bias.assign(0 * model.layers[0].bias)
state = run.restore(model, 10)
print(state.step, float(abs(model.layers[0].bias.numpy()).max()) > 0)
"""


def fill_the_disk(tmp_path, limit=""):
    path = [str(pathlib.Path(__file__).parent), os.getcwd()]
    folder = str(tmp_path / "run")
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            FULL_DISK.format(path=path, folder=folder, limit=limit),
        ],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    error, restored = result.stdout.splitlines()[-2:]
    assert error.startswith("The checkpoint of step 2 cannot be written")
    assert error.endswith("That of step 1 is intact.")
    assert restored == "1 True"
    assert os.listdir(tmp_path / "run/checkpoints") == ["step-00000001"]
    return error


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk")
def test_a_full_disk_leaves_the_checkpoint_before_intact(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    # A checkpoint of this model has 1.8 MB.
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", folder]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this system does not let root mount a disk")
    try:
        assert "No space left on device" in fill_the_disk(tmp_path)
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.large
def test_a_limit_of_file_size_leaves_the_checkpoint_before_intact(tmp_path):
    limit = (
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))"
    )
    assert "File too large" in fill_the_disk(tmp_path, limit)
