import pathlib
import re
import runpy

import keras
import PIL.Image
import pytest

pytest.importorskip("pycocotools")
if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)

SCRIPT = pathlib.Path(__file__).parents[2] / "examples/detect_on_own_data.py"


def test_a_folder_is_read_and_scenes_are_composed_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    load = runpy.run_path(SCRIPT)["load"]
    for number in (16, 99):  # The second time they are there.
        train, val = load(None, 64, number)
        assert (len(train.images), len(val.images)) == (16, 2)
    (folder,) = tmp_path.iterdir()
    train, _ = load(folder, 512, 99)
    assert len(train.images) == 16


@pytest.mark.large
def test_a_detector_is_trained_evaluated_and_drawn(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(SCRIPT)["main"](None, 64, number=16, epochs=2)
    losses = re.findall(r"- loss: ([\d.]+)", capsys.readouterr().out)
    assert len(losses) == 2 and float(losses[1]) < float(losses[0])
    assert keras.saving.load_model("detector.keras").num_classes == 10
    assert PIL.Image.open("detections.png").width > 600
