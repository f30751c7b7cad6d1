import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
from small_runs import X, checkpoint, make_model, save, train, values

from keras_epsanet import atomic, storage
from keras_epsanet.training import (
    Recipe,
    RunFolder,
    State,
    WeightAverage,
    has_checkpoints,
    run_folder,
)


def test_the_name_of_a_checkpoint_is_on_the_disk_in_the_end(
    tmp_path, monkeypatch
):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    synced = []
    monkeypatch.setattr(
        atomic,
        "sync",
        lambda path: synced.append((path, checkpoint(tmp_path, 1).exists())),
    )
    save(run, model, 1)
    assert synced[-1] == (str(tmp_path / "run/checkpoints"), True)
    assert not any(exists for _, exists in synced[:-1])
    assert run.keep == 3


def test_the_last_three_and_the_best_are_kept(tmp_path):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    save(run, model, 10)
    save(run, model, 20, 30, 40, 50, best_step=20)
    assert run.steps() == [50, 40, 30, 20]
    save(run, model, 60, best_step=60)
    # 50 and 40, to which a damage could lead back, still know that best one.
    assert run.steps() == [60, 50, 40, 20]
    save(run, model, 70, 80, best_step=60)
    assert run.steps() == [80, 70, 60]


def flip_byte(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)


def truncate(folder, name):
    os.truncate(folder / name, (folder / name).stat().st_size // 2)


def delete(folder, name):
    (folder / name).unlink()


@pytest.mark.parametrize(
    "name", ["model.keras", "state.json", "average.npz", "SHA256SUMS"]
)
@pytest.mark.parametrize("damage", [flip_byte, truncate, delete])
def test_of_a_damaged_checkpoint_the_one_before_is_used(tmp_path, name, damage):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    save(run, model, 5)
    expected = values(model)
    average = WeightAverage(train(model), 0.5)
    run.save(model, State(step=6, steps_per_epoch=10), average)
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


def test_the_best_of_a_checkpoint_that_is_used_again_is_kept(tmp_path):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    save(run, model, 10, 15, best_step=10, best_value=0.5)
    save(run, model, 20, 25, best_step=20, best_value=0.6)
    assert run.steps() == [25, 20, 15, 10]
    for step in (25, 20):
        delete(checkpoint(tmp_path, step), "state.json")
    with pytest.warns(UserWarning, match="is damaged"):
        state = run.restore(model, 10)
    assert (state.step, state.best_step, state.best_value) == (15, 10, 0.5)
    assert run.restore(model, 10, state.best_step).step == 10


def test_a_best_epoch_whose_checkpoint_is_gone_is_none(tmp_path):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    save(run, model, 10, 20, best_step=10, best_value=0.5)
    shutil.rmtree(checkpoint(tmp_path, 10))
    with pytest.warns(UserWarning, match="step-00000010 .* without it"):
        state = run.restore(model, 10)
    assert (state.step, state.best_step, state.best_value) == (20, None, None)


@pytest.mark.parametrize("keep", [0, -1, 2.5, None])
def test_at_least_one_checkpoint_is_kept(tmp_path, keep):
    with pytest.raises(ValueError, match=f"Received: keep={keep}"):
        RunFolder(tmp_path / "run", Recipe(), keep=keep)
    assert not os.listdir(tmp_path)


def test_without_an_intact_checkpoint_nothing_begins_anew(tmp_path):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    save(run, model, 1)
    truncate(checkpoint(tmp_path, 1), "model.keras")
    with (
        pytest.warns(UserWarning),
        pytest.raises(
            ValueError,
            match=r"No checkpoint .* is intact. Received: the steps \[1",
        ),
    ):
        run.restore(model, 10)


def test_a_folder_belongs_to_one_recipe(tmp_path):
    RunFolder(tmp_path / "run", Recipe(epochs=90))
    with pytest.raises(
        ValueError, match="Received: epochs: 120, not 90; ema: 0.9, not None"
    ):
        RunFolder(tmp_path / "run", Recipe(ema=0.9))
    RunFolder(tmp_path / "run", Recipe(epochs=90))


@pytest.mark.parametrize("content", ["{", "{}", None])
def test_a_former_state_that_is_damaged_costs_no_checkpoint(tmp_path, content):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    save(run, model, 1, 2)
    state = checkpoint(tmp_path, 1) / "state.json"
    state.unlink() if content is None else state.write_text(content)
    save(run, model, 3, best_step=2)
    assert run.steps() == [3, 2, 1]


@pytest.mark.parametrize(
    "steps, rest",
    [
        ([], "There is no earlier one."),
        ([7], "There is no earlier one."),
        ([3, 7], "That of step 3 is intact."),
        ([3, 5], "That of step 5 is intact."),
    ],
)
def test_a_checkpoint_that_cannot_be_written_says_what_is_left(
    tmp_path, monkeypatch, steps, rest
):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    save(run, model, *steps)

    def fail(folder, *_):
        os.mkdir(folder)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_folder.checkpoints, "write", fail)
    folder = checkpoint(tmp_path, 7)
    with pytest.raises(OSError) as caught:
        save(run, model, 7)
    assert str(caught.value) == (
        f"The checkpoint of step 7 cannot be written to {folder}: "
        f"No space left on device. {rest}"
    )
    assert run.steps() == steps[::-1]


def test_the_weights_of_the_training_are_saved_beside_their_average(tmp_path):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    expected = values(model)
    average = WeightAverage(model, 0.5)
    for variable in average.variables[:-2]:
        variable.assign(variable + 1)
    average.swap_in()
    path = run.save(model, State(step=1, steps_per_epoch=10), average)
    assert path == str(checkpoint(tmp_path, 1)) and average.is_in_place
    copy = make_model()
    run.restore(copy, 10)
    for ours, theirs in zip(values(copy), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_training_without_checkpoints_begins_at_step_0(tmp_path):
    run = RunFolder(tmp_path / "run", Recipe())
    assert run.restore(None, 7) == State(step=0, steps_per_epoch=7)


def test_a_worker_that_is_not_the_chief_only_takes_part(tmp_path):
    run = RunFolder(tmp_path / "run", Recipe(), is_chief=False)
    model = train(make_model())
    path = run.save(model, State(step=1, steps_per_epoch=10))
    assert path == str(checkpoint(tmp_path, 1))
    assert run.export(model, "last.weights.h5") is None
    run.restore(model, 10)
    assert not [x for x in tmp_path.rglob("*") if x.is_file()]


def test_other_data_is_refused(tmp_path):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    save(run, model, 1)
    with pytest.raises(ValueError, match="steps_per_epoch=11, not 10"):
        run.restore(model, 11)


def test_what_a_kill_left_is_removed(tmp_path):
    save(RunFolder(tmp_path / "run", Recipe()), train(make_model()), 1)
    folder = checkpoint(tmp_path, 1)
    shutil.copytree(folder, folder.with_name(".tmp-step-00000002"))
    (tmp_path / "run/.tmp-recipe.json").touch()
    run = RunFolder(tmp_path / "run", Recipe())
    assert not (tmp_path / "run/.tmp-recipe.json").exists()
    assert os.listdir(folder.parent) == [folder.name]
    assert run.steps() == [1]


def test_the_exported_file_holds_the_network_alone(tmp_path):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    network = keras.Model(model.inputs, model.outputs)
    digest = run.export(network, "last.weights.h5")
    names = sorted(os.listdir(tmp_path / "run"))
    assert names == [
        ".lock",
        "SHA256SUMS",
        "checkpoints",
        "last.weights.h5",
        "recipe.json",
    ]
    assert not run.steps()
    output = subprocess.check_output(
        ["sha256sum", tmp_path / "run/last.weights.h5"], text=True
    )
    assert output.split()[0] == digest
    copy = keras.models.clone_model(network)
    copy.load_weights(tmp_path / "run/last.weights.h5")
    np.testing.assert_array_equal(copy.predict(X), network.predict(X))


def test_the_sums_of_what_is_exported_are_kept_up_to_date(
    tmp_path, monkeypatch
):
    run, model = RunFolder(tmp_path / "run", Recipe()), train(make_model())
    written = []

    def write(path, text, write_file=run_folder.write_file):
        written.append(os.path.basename(path))
        write_file(path, text)

    monkeypatch.setattr(run_folder, "write_file", write)
    run.export(model, "best.weights.h5")
    old = run.export(train(model), "last.weights.h5")
    new = run.export(train(model), "last.weights.h5")
    text = (tmp_path / "run/SHA256SUMS").read_text()
    assert len(text.splitlines()) == 2 and new in text and old not in text
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    subprocess.run(check, cwd=tmp_path / "run", check=True)
    # As a whole or not at all.
    assert written == 3 * ["SHA256SUMS"]


def test_a_folder_in_use_is_left_as_it_is(tmp_path, start_locking):
    half = checkpoint(tmp_path, 1).with_name(".tmp-step-00000001")
    half.mkdir(parents=True)
    process = start_locking(tmp_path / "run", 60)
    process.stdout.readline()
    with pytest.raises(ValueError, match=f"use by process {process.pid} on "):
        RunFolder(tmp_path / "run", Recipe())
    assert half.exists() and not (tmp_path / "run/recipe.json").exists()
    # Another worker of the same training, which does not write there.
    RunFolder(tmp_path / "run", Recipe(), is_chief=False)


def test_a_run_keeps_other_processes_out_as_long_as_it_exists(
    tmp_path, start_locking
):
    run = RunFolder(tmp_path / "run", Recipe())
    # A second one of the same process is another look at the same training.
    again = RunFolder(tmp_path / "run", Recipe())
    del run
    assert "in use" in start_locking(tmp_path / "run").communicate()[1]
    del again
    assert start_locking(tmp_path / "run").communicate() == ("locked\n", "")


@pytest.fixture
def remote(tmp_path):
    """Path of a run folder in TensorFlow's memory."""
    pytest.importorskip("tensorflow")
    return f"ram://test_run_folder/{tmp_path.name}"


def quiet_run(path):
    with warnings.catch_warnings():
        # Of each claim but the first.
        warnings.filterwarnings("ignore", ".* was written to by")
        return RunFolder(path, Recipe())


def test_a_training_goes_on_from_a_storage(remote):
    run, model = quiet_run(remote), train(make_model())
    average = WeightAverage(model, 0.5)
    for step in (1, 2, 3, 4):
        state = State(step=step, steps_per_epoch=10, best_step=1)
        run.save(train(model), state, average)
    assert run.steps() == [4, 3, 2, 1]
    assert has_checkpoints(remote)
    expected = values(model)
    digest = run.export(model, "last.weights.h5")
    assert digest == atomic.sha256(f"{remote}/last.weights.h5")
    again, model = quiet_run(remote), make_model()
    average = WeightAverage(model, 0.5)
    assert again.restore(model, 10, average=average).step == 4
    for ours, theirs in zip(values(model), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    names = [".lock", "SHA256SUMS", "checkpoints", "last.weights.h5"]
    assert sorted(storage.listdir(remote)) == [*names, "recipe.json"]


def test_a_training_that_is_refused_takes_no_folder_over(remote):
    run, model = quiet_run(remote), train(make_model())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="a training with another recipe"):
            RunFolder(remote, Recipe(epochs=7))
    save(run, model, 1)
    assert run.steps() == [1]


def test_a_training_whose_folder_was_taken_over_ends(remote):
    run, model = quiet_run(remote), train(make_model())
    save(run, model, 1)
    with pytest.warns(UserWarning, match="was written to by process"):
        other = RunFolder(remote, Recipe())
    for write in (lambda: save(run, model, 2), lambda: run.export(model, "a")):
        with pytest.raises(RuntimeError, match="was taken over by process"):
            write()
    assert run.steps() == [1]
    save(other, model, 2)
    assert other.steps() == [2, 1]


def test_a_checkpoint_of_a_storage_counts_with_its_last_file(remote):
    run, model = quiet_run(remote), train(make_model())
    save(run, model, 1, 2)
    storage.remove(f"{run.folder(2)}/SHA256SUMS")
    # Not damaged, but as if it were not there.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run.steps() == [1] and run.restore(model, 10).step == 1
    run = quiet_run(remote)
    assert storage.listdir(f"{remote}/checkpoints") == ["step-00000001"]
    storage.remove(f"{run.folder(1)}/SHA256SUMS")
    assert not has_checkpoints(remote)
    assert quiet_run(remote).restore(model, 10).step == 0


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("lasting", [False, True])
def test_no_half_checkpoint_is_taken_for_a_whole_one(
    remote, failing_storage, lasting, after, again
):
    model = train(make_model())
    save(quiet_run(remote), model, 1)
    first = values(model)
    second = values(train(model))
    for call in range(1, 100):
        run = quiet_run(remote)
        if again:  # The checkpoint before its evaluation.
            save(run, model, 2)
        failing_storage.fail(call, None if lasting else call, after)
        try:
            save(run, model, 2)
        except OSError as error:
            assert "storage is down" in str(error)
        failed = failing_storage.failed
        failing_storage.heal()
        with warnings.catch_warnings():
            warnings.filterwarnings("error", ".*damaged")
            state = quiet_run(remote).restore(model, 10)
        expected = {1: first, 2: second}[state.step]
        for ours, theirs in zip(values(model), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        if not failed:
            break
        atomic.remove_folder(run.folder(2), "SHA256SUMS")
        run.restore(model, 10)
        train(model)
    assert call > 10 and state.step == 2


def test_a_storage_that_fails_costs_no_best_epoch(remote, failing_storage):
    model = train(make_model())
    save(quiet_run(remote), model, 1, best_step=1)
    for call in range(1, 100):
        run = quiet_run(remote)
        run.keep = 1
        save(run, model, 2, best_step=1)
        failing_storage.fail(call, call)
        with contextlib.suppress(OSError):
            save(run, model, 3, best_step=1)
        failed = failing_storage.failed
        failing_storage.heal()
        assert 1 in run.steps()
        if not failed:
            break
        atomic.remove_folder(run.folder(3), "SHA256SUMS")
    assert call > 15 and run.steps() == [3, 1]


@pytest.mark.parametrize("lasting", [False, True])
def test_a_storage_that_fails_does_not_lead_back(
    remote, failing_storage, lasting
):
    run, model = quiet_run(remote), train(make_model())
    save(run, model, 1, 2)
    for call in range(1, 100):
        failing_storage.fail(call, None if lasting else call)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", ".*damaged")
            try:
                assert run.restore(model, 10).step == 2
            except OSError as error:
                assert "storage is down" in str(error)
        if not failing_storage.failed:
            break
    assert call > 8


FULL_DISK = """
import sys
sys.path[:0] = {path!r}
import resource, signal
import test_run_folder as t
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


tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="takes a new process"
)


@tensorflow_only
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
@tensorflow_only
def test_a_limit_of_file_size_leaves_the_checkpoint_before_intact(tmp_path):
    limit = (
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))"
    )
    assert "File too large" in fill_the_disk(tmp_path, limit)
