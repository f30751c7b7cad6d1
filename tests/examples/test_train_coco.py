import csv
import pathlib
import subprocess
import sys

import keras
import numpy as np
import PIL.Image
import pytest

from keras_epsanet import EPSANet
from keras_epsanet.detection.from_recipe import find_backbone

pytest.importorskip("pycocotools")
if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)

SCRIPT = pathlib.Path(__file__).parents[2] / "examples/train_coco.py"
OPTIONS = "--scenes 8 --epochs 2 --batch-size 2 --image-size 64"
OPTIONS += " --longer-side 64 --warm-up-epochs 0"


def run(output, *options):
    return subprocess.run(
        [sys.executable, SCRIPT, "--output", output, *OPTIONS.split()]
        + list(options),
        capture_output=True,
        text=True,
    )


def run_tiny(output, *options):
    """The same with a tiny backbone."""
    script = pathlib.Path(__file__).with_name("tiny_train_coco.py")
    return subprocess.run(
        [sys.executable, script, "0", "--output", output, *OPTIONS.split()]
        + list(options),
        capture_output=True,
        text=True,
    )


def detect(run, output, image):
    return subprocess.run(
        [sys.executable, SCRIPT.with_name("detect.py"), "--run", run]
        + ["--output", output, "--min-score", "0", image],
        capture_output=True,
        text=True,
    )


@pytest.mark.large
def test_a_run_leaves_its_results_and_goes_on(tmp_path):
    output = tmp_path / "run"
    result = run(output)
    assert result.returncode == 0, result.stderr[-2000:]
    with open(output / "log.csv") as file:
        log = list(csv.DictReader(file))
    assert [row["epoch"] for row in log] == ["0", "1"]
    assert all(0 <= float(row["val_AP"]) <= 1 for row in log)
    assert PIL.Image.open(output / "predictions.png").width > 600
    model = keras.saving.load_model(output / "model.keras")
    assert model.num_classes == 10
    again = run(output)
    assert (
        "Going on after step 8 of 8" in again.stdout
        and "Epoch" not in again.stdout
    )
    assert result.stdout.splitlines()[-1] == again.stdout.splitlines()[-1]
    image = output / "scenes/val/000000000001.jpg"
    found = detect(output, tmp_path / "found", image)
    assert f"{image}: " in found.stdout, found.stderr[-2000:]
    assert PIL.Image.open(tmp_path / "found/000000000001.png").width > 600
    other = run(output, "--momentum", "0.5")
    assert other.returncode == 1
    assert other.stderr.endswith("Received: momentum: 0.5, not 0.9\n")


@pytest.mark.large
@pytest.mark.parametrize("library", ["keras_hub", "keras_cv"])
def test_the_detector_of_a_library_is_trained(library, tmp_path):
    pytest.importorskip(library)
    result = run(tmp_path / "run", "--library", library, "--epochs", "1")
    assert result.returncode == 0, result.stderr[-2000:]
    with open(tmp_path / "run/log.csv") as file:
        (row,) = csv.DictReader(file)
    assert 0 <= float(row["val_AP"]) <= 1
    assert PIL.Image.open(tmp_path / "run/predictions.png").width > 600


@pytest.mark.large
@pytest.mark.parametrize("detector", ["retinanet", "faster_rcnn"])
def test_a_frozen_backbone_stays_what_it_started_from(tmp_path, detector):
    resnet = EPSANet(
        *((1, 1, 1, 1), (16, 16, 16, 16), (3,), (1,)),
        **{"reduction": 4, "input_shape": (32, 32, 3), "classes": 5},
    )
    resnet.save(tmp_path / "resnet.keras")
    options = ["--detector", detector, "--freeze", "--epochs", "1"]
    start = ["--inherit", str(tmp_path / "resnet.keras")]
    output = tmp_path / "run"
    result = run_tiny(output, *options, *start)
    assert result.returncode == 0, result.stderr[-2000:]
    note = (output / "initialized_from.txt").read_text()
    assert "Initialized from ResNet-14" in note and "4 modules fitted" in note
    assert PIL.Image.open(output / "predictions.png").width > 600
    model = keras.saving.load_model(output / "model.keras", compile=False)
    backbone = find_backbone(model)
    for name in ("conv1_conv", "conv1_bn", "conv4_block1_3_bn"):
        for found, expected in zip(
            backbone.get_layer(name).get_weights(),
            resnet.get_layer(name).get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(found, expected)
    # The start is not needed any more, and what is frozen stays so.
    again = run_tiny(output, "--detector", detector)
    assert "Going on after step 4 of 4" in again.stdout, again.stderr[-2000:]


@pytest.mark.large
def test_masks_are_learnt_and_drawn(tmp_path):
    output = tmp_path / "run"
    result = run(output, "--detector", "mask_rcnn", "--epochs", "1")
    assert result.returncode == 0, result.stderr[-2000:]
    with open(output / "log.csv") as file:
        (row,) = csv.DictReader(file)
    assert 0 <= float(row["val_mask_AP"]) <= 1
    image = output / "scenes/val/000000000001.jpg"
    found = detect(output, tmp_path / "found", image)
    assert f"{image}: " in found.stdout, found.stderr[-2000:]
    assert PIL.Image.open(tmp_path / "found/000000000001.png").width > 600


def test_data_that_is_not_there_is_named(tmp_path):
    options = ["--output", tmp_path / "run", "--data", tmp_path / "none"]
    result = subprocess.run(
        [sys.executable, SCRIPT, *options], capture_output=True, text=True
    )
    assert result.returncode == 1
    assert f"Received: {tmp_path}/none" in result.stderr
    assert "Traceback" not in result.stderr
