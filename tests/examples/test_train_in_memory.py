"""Trainings whose data and run folders are no files of this machine."""

import pathlib
import subprocess
import sys

import keras
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("trained on TensorFlow", allow_module_level=True)

SCRIPT = pathlib.Path(__file__).with_name("train_in_memory.py")
LEFT = {
    "train": {"model.keras", "confusion.csv", "curves.png", "results.json"},
    "train-imagenet": {"last.weights.h5", "best.weights.h5", "SHA256SUMS"},
    "train-coco": {"model.keras", "last.weights.h5", "predictions.png"},
}


@pytest.mark.large
@pytest.mark.parametrize("word", LEFT)
def test_a_training_goes_on_in_a_storage_as_if_left_alone(word, tmp_path):
    if word == "train-coco":
        pytest.importorskip("pycocotools")
    result = subprocess.run(
        [sys.executable, SCRIPT, word, tmp_path], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-3000:]
    lines = result.stdout.splitlines()
    assert "ended with 75" in lines
    (kept,) = [x for x in lines if x.startswith("checkpoints ")]
    assert kept.endswith(" step-00000003")
    assert any(x.startswith("Going on after step 3 of ") for x in lines)
    ours, theirs = [set(x.split()) for x in lines if x.startswith("left ")]
    assert ours == theirs and ours > LEFT[word] | {"checkpoints", "log.csv"}
    assert [x for x in lines if x.startswith("log ")] == 2 * ["log epoch 0 1"]
    assert lines[-1] == "equal"
