import json
import pathlib
import runpy
import sys

import keras
import numpy as np
import pytest

from keras_epsanet import training

pytest.importorskip("matplotlib")
if keras.backend.backend() != "tensorflow":
    pytest.skip("reads images with TensorFlow", allow_module_level=True)

SCRIPT = pathlib.Path(__file__).parents[2] / "examples/detect.py"
# Each has a test below.
OPTIONS = {"images", "run", "output", "min_score", "json"}


class Detector:
    """Finds two objects, in pixels of what it is given."""

    def predict(self, images, verbose):
        self.shape = images.shape
        return {
            "boxes": np.array([[[2, 4, 20, 30], [0, 0, 60, 70], [-1] * 4]]),
            "labels": np.array([[1, 0, -1]]),
            "confidence": np.array([[0.9, 0.4, -1]]),
            "num_detections": np.array([2]),
        }


@pytest.fixture
def detector(tmp_path, monkeypatch):
    """A detector in the folder `run`, and an image of 40×20 pixels."""
    recipe = training.CocoRecipe(image_size=40, longer_side=80)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/recipe.json").write_text(recipe.to_json())
    (tmp_path / "run/class_names.json").write_text('["fig", "pear"]')
    image = np.zeros((20, 40, 3), "uint8")
    keras.utils.save_img(tmp_path / "image.png", image)
    model = Detector()

    def load_model(path, compile):
        model.path = path
        return model

    monkeypatch.setattr(keras.saving, "load_model", load_model)
    return model


def detect(tmp_path, monkeypatch, *options):
    arguments = ["--run", tmp_path / "run", "--output", tmp_path / "found"]
    arguments += [*options, tmp_path / "image.png"]
    monkeypatch.setattr(sys, "argv", ["detect.py", *map(str, arguments)])
    return runpy.run_path(str(SCRIPT), run_name="__main__")


@pytest.mark.parametrize(
    "options, names",
    [
        ([], ["pear", "fig"]),  # From 0.3 on.
        (["--min-score", 0.5], ["pear"]),
        (["--min-score", 0.4], ["pear", "fig"]),
        (["--min-score", 0.95], []),
    ],
)
def test_what_has_the_score_is_named(
    options, names, detector, tmp_path, monkeypatch, capsys
):
    detect(tmp_path, monkeypatch, *options)
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == f"{tmp_path}/image.png: {len(names)} objects"
    assert [line.split()[0] for line in lines] == names


def test_boxes_are_those_of_the_image_s_pixels(
    detector, tmp_path, monkeypatch, capsys
):
    detect(tmp_path, monkeypatch)
    # To 40×80 pixels, and rows of zeros for the detector.
    assert detector.shape == (1, 64, 96, 3)
    pear, fig = capsys.readouterr().out.splitlines()[1:]
    assert pear.split("[")[1] == " 1.  2. 10. 15.]"
    assert fig.split("[")[1].split() == ["0.", "0.", "30.", "20.]"]


def test_the_run_is_read_and_pictures_go_to_the_output(
    detector, tmp_path, monkeypatch
):
    detect(tmp_path, monkeypatch)
    assert detector.path == str(tmp_path / "run/model.keras")
    names = [path.name for path in (tmp_path / "found").iterdir()]
    assert names == ["image.png"]


def test_a_bad_file_is_named_and_the_others_are_drawn(
    detector, tmp_path, monkeypatch, capsys
):
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(SystemExit, match="detect: 1 of 2 images skipped"):
        detect(tmp_path, monkeypatch, tmp_path / "bad.png")
    assert (tmp_path / "found/image.png").exists()
    assert "bad.png" in capsys.readouterr().err


def test_pictures_of_one_name_do_not_overwrite_each_other(
    detector, tmp_path, monkeypatch
):
    names = ["a/1.png", "b/1.png", "b/1.jpg"]
    for name in names:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        image = np.zeros((20, 40, 3), "uint8")
        keras.utils.save_img(tmp_path / "photos" / name, image)
    detect(tmp_path, monkeypatch, tmp_path / "photos")
    found = (tmp_path / "found").rglob("*.png")
    assert sorted(str(x.relative_to(tmp_path / "found")) for x in found) == [
        "image.png",
        "photos/a/1.png",
        "photos/b/1.jpg.png",
        "photos/b/1.png.png",
    ]


def test_a_folder_without_images_is_an_error(detector, tmp_path, monkeypatch):
    (tmp_path / "image.png").unlink()
    (tmp_path / "image.png").mkdir()
    with pytest.raises(SystemExit, match="detect: no images in"):
        detect(tmp_path, monkeypatch)


def test_all_that_is_found_is_written_as_json(detector, tmp_path, monkeypatch):
    detect(tmp_path, monkeypatch, "--json", tmp_path / "found.json")
    (image,) = json.loads((tmp_path / "found.json").read_text())
    assert image["file"] == f"{tmp_path}/image.png"
    pear, fig = image["objects"]
    assert pear == {"class": "pear", "score": 0.9, "box": [1, 2, 10, 15]}
    assert fig["class"] == "fig"


def test_every_option_has_a_test(monkeypatch):
    script = runpy.run_path(str(SCRIPT))
    monkeypatch.setattr(sys, "argv", ["detect.py", "image.png"])
    assert set(vars(script["parse_args"]())) == OPTIONS
