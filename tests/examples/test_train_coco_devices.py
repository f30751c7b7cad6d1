"""A training of train_coco.py is the same on any number of devices."""

import csv
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

pytest.importorskip("pycocotools")
if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)

SCRIPT = pathlib.Path(__file__).with_name("tiny_train_coco.py")
# One device of three has no image of the last batch of an evaluation.
OPTIONS = "--scenes 13 --epochs 2 --batch-size 6 --image-size 64 "
OPTIONS += "--longer-side 64 --norm-eval --num-samples 16"


def train(output, devices, detector):
    """Returns the lines of the log, a dictionary each."""
    options = ["--detector", detector, "--output", output, *OPTIONS.split()]
    subprocess.run([sys.executable, SCRIPT, str(devices), *options], check=True)
    with open(output / "log.csv", newline="") as file:
        return [
            {name: float(value) for name, value in row.items()}
            for row in csv.DictReader(file)
        ]


@pytest.mark.large
@pytest.mark.parametrize("detector", ["retinanet", "faster_rcnn", "mask_rcnn"])
def test_13_images_have_their_losses_and_ap_on_any_devices(tmp_path, detector):
    expected = train(tmp_path / "1", 1, detector)
    names = [x for x in expected[0] if x.endswith("loss") or "AP" in x]
    assert len(names) > 8 and expected[-1]["val_AP50"] > 0
    for devices in (2, 3):
        found = train(tmp_path / str(devices), devices, detector)
        for ours, theirs in zip(found, expected, strict=True):
            for name in names:
                np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5)
