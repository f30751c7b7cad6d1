import csv
import pathlib
import subprocess
import sys

import keras
import PIL.Image
import pytest

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
    assert "from step 8" in again.stdout and "Epoch" not in again.stdout
    assert result.stdout.splitlines()[-1] == again.stdout.splitlines()[-1]
    image = output / "scenes/val/000000000001.jpg"
    found = subprocess.run(
        [sys.executable, SCRIPT.with_name("detect.py"), "--run", output]
        + ["--output", tmp_path / "found", "--min-score", "0", image],
        capture_output=True,
        text=True,
    )
    assert f"{image}: " in found.stdout, found.stderr[-2000:]
    assert PIL.Image.open(tmp_path / "found/000000000001.png").width > 600
    other = run(output, "--momentum", "0.5")
    assert other.returncode == 1
    assert other.stderr.endswith("Received: momentum: 0.5, not 0.9\n")


def test_data_that_is_not_there_is_named(tmp_path):
    result = run(tmp_path / "run", "--data", str(tmp_path / "none"))
    assert result.returncode == 1
    assert f"{tmp_path}/none/annotations" in result.stderr
    assert "Traceback" not in result.stderr
