import csv
import json
import os
import pathlib
import random
import re
import runpy
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANet

if keras.backend.backend() != "tensorflow":
    pytest.skip("the script needs TensorFlow", allow_module_level=True)

SCRIPT = pathlib.Path(__file__).parents[2] / "examples/train_imagenet.py"


def command(output, *options):
    options = ["--smoke", "--deterministic", "--output", output, *options]
    return [sys.executable, SCRIPT, *map(str, options)]


def start(output, *options):
    """Starts a smoke run, whose output goes to a file beside its folder."""
    with open(f"{output}.txt", "a") as file:
        return subprocess.Popen(
            command(output, *options),
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )


def run(output, *options):
    result = subprocess.run(
        command(output, *options), capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def read_log(output):
    with open(f"{output}/log.csv", newline="") as file:
        return list(csv.DictReader(file))


def checkpoints(output):
    folder = output / "checkpoints"
    return sorted(folder.glob("step-*")) if folder.exists() else []


def wait_for(condition, process, seconds=120):
    """Waits until a condition holds, or the process has ended."""
    limit = time.monotonic() + seconds
    while not condition() and process.poll() is None:
        assert time.monotonic() < limit, "the process makes no progress"
        time.sleep(0.001)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder and output of a run that nothing interrupts."""
    output = tmp_path_factory.mktemp("smoke") / "run"
    return output, run(output)


def assert_same_results(output, expected):
    for name in ("last.weights.h5", "best.weights.h5"):
        ours, theirs = (
            keras_weights(folder / name) for folder in (output, expected)
        )
        for weight, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(weight, other)
    columns = ("epoch", "loss", "top1", "top5", "learning_rate", "val_loss")
    for row, other in zip(read_log(output), read_log(expected), strict=True):
        assert [row[c] for c in columns] == [other[c] for c in columns]


def keras_weights(path):
    network = EPSANet(
        (1, 1),
        (64, 128),
        (3, 5),
        (1, 4),
        input_shape=(32, 32, 3),
        classes=10,
        weights=path,
    )
    return network.get_weights()


def test_a_smoke_run_leaves_weights_logs_and_checkpoints(whole):
    output, text = whole
    names = sorted(path.name for path in output.iterdir())
    assert names == [
        ".lock",
        "SHA256SUMS",
        "best.weights.h5",
        "checkpoints",
        "last.weights.h5",
        "log.csv",
        "recipe.json",
        "smoke_images",
        "tensorboard",
    ]
    steps = [int(path.name.split("-")[1]) for path in checkpoints(output)]
    assert steps[-3:] == [12, 15, 18]
    sums = (output / "SHA256SUMS").read_text()
    assert sums in text
    check = ["sha256sum", "--check", "SHA256SUMS"]
    result = subprocess.run(check, cwd=output, capture_output=True)
    assert result.returncode == 0


def test_the_log_has_a_line_for_every_epoch(whole):
    log = read_log(whole[0])
    assert [row["epoch"] for row in log] == ["0", "1", "2"]
    losses = [float(row["loss"]) for row in log]
    assert losses == sorted(losses, reverse=True)
    rates = [float(row["learning_rate"]) for row in log]
    np.testing.assert_allclose(rates, [0.00625, 0.00625, 0.000625], rtol=1e-6)
    for row in log:
        assert float(row["images_per_second"]) > 0
        assert 0 <= float(row["input_wait"]) <= 1


@pytest.mark.large
def test_a_finished_run_only_writes_its_results_again(whole):
    output, _ = whole
    before = (output / "SHA256SUMS").read_text()
    (output / "last.weights.h5").unlink()
    text = run(output, "--resume")
    assert "Going on after step 18 of 18" in text and "Epoch" not in text
    assert (output / "SHA256SUMS").read_text() == before


def message_of(monkeypatch, *arguments):
    """Runs the script in this process, which must end with a message."""
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return caught.value.code


def test_another_recipe_is_refused(whole, monkeypatch):
    arguments = ("--smoke", "--output", whole[0], "--epochs", "4")
    message = message_of(monkeypatch, *arguments)
    assert message.startswith("train_imagenet: ")
    assert message.endswith("Received: epochs: 4, not 3")


def test_data_that_is_not_there_is_named(tmp_path, monkeypatch):
    arguments = ("--data", tmp_path / "none", "--output", tmp_path / "run")
    assert f"{tmp_path}/none" in message_of(monkeypatch, *arguments)


@pytest.mark.parametrize(
    "number, code", [(signal.SIGTERM, 75), (signal.SIGINT, 130)]
)
def test_a_signal_changes_nothing(whole, tmp_path, number, code):
    output = tmp_path / "run"
    # Saves the step that it is in, which is no third one.
    process = start(output, "--checkpoint-steps", "100")
    wait_for(lambda: "Epoch 2" in read_output(output), process)
    process.send_signal(number)
    assert process.wait(60) == code
    text = read_output(output)
    assert "stopped after step" in text and "Traceback" not in text
    (*_, saved) = checkpoints(output)
    text = run(output)
    step = int(re.search(r"Going on after step (\d+)", text)[1])
    assert step == int(saved.name.split("-")[1]) >= 6
    assert_same_results(output, whole[0])


def read_output(output):
    return pathlib.Path(f"{output}.txt").read_text(errors="replace")


def is_writing(output):
    return any((output / "checkpoints").glob(".tmp-step-*"))


@pytest.mark.large
def test_twenty_kills_at_random_moments_change_nothing(tmp_path):
    options = ("--epochs", 40, "--decay-epochs", 15)
    whole, output = tmp_path / "whole", tmp_path / "run"
    run(whole, *options)
    choose = random.Random(0)
    writing = 0
    for kill in range(20):
        before = checkpoints(output)[-1:]
        process = start(output, *options)
        if kill % 10 == 3:  # While it starts.
            time.sleep(choose.uniform(0, 4))
        else:
            wait_for(lambda: checkpoints(output)[-1:] != before, process)
            if kill % 2:
                wait_for(lambda: is_writing(output), process)
                time.sleep(choose.uniform(0, 0.02))
            else:
                time.sleep(choose.uniform(0, 0.3))
        assert process.poll() is None, read_output(output)[-2000:]
        process.kill()
        process.wait()
        writing += output.exists() and is_writing(output)
        saved = checkpoints(output)
        if before and saved:
            # It had gone on from the last checkpoint: none is lost.
            step = re.findall(r"after step ([\d,]+)", read_output(output))[-1:]
            expected = int(before[0].name.split("-")[1])
            assert kill % 10 == 3 or int(step[0]) == expected
    assert writing >= 3
    run(output, *options)
    assert_same_results(output, whole)


@pytest.mark.large
def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    output = tmp_path / "run"
    result = subprocess.run(
        command(output, "--learning-rate", "1e12", "--epochs", 9),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert re.search(r"train_imagenet: .*(step \d+)", result.stderr)
    assert "Traceback" not in result.stderr
    for folder in checkpoints(output):
        state = json.loads((folder / "state.json").read_text())
        assert np.isfinite(state["metrics"]).all()


@pytest.mark.large
@pytest.mark.parametrize(
    "options",
    [
        ("--precision", "mixed_bfloat16"),
        ("--ema", "0.9", "--schedule", "cosine", "--warm-up-epochs", "1"),
        ("--accumulation-steps", "2", "--clipnorm", "1", "--no-l2-on-all"),
    ],
    ids=lambda options: options[0],
)
def test_options_train_too_and_resume_the_same(tmp_path, options):
    whole, output = tmp_path / "whole", tmp_path / "run"
    run(whole, *options)
    process = start(output, *options)
    wait_for(lambda: len(checkpoints(output)) > 2, process)
    process.kill()
    process.wait()
    assert "Going on" in run(output, *options)
    assert_same_results(output, whole)
