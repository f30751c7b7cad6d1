"""Which models are explained, and which options each kind has."""

import os
import re

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANetBackbone, training
from keras_epsanet.commands import explain, explained_models
from keras_epsanet.detection import RetinaNet
from keras_epsanet.layers import ClassNames

if keras.backend.backend() != "tensorflow":
    pytest.skip("images are decoded by TensorFlow", allow_module_level=True)
pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder of a detector's run, a classifier and an image."""
    folder = tmp_path_factory.mktemp("models")
    keras.utils.set_random_seed(0)
    backbone = EPSANetBackbone(
        (1, 1, 1, 1), (16, 16, 16, 16), (3, 5), (1, 4), reduction=4
    )
    detector = RetinaNet(
        backbone, 2, class_names=["fig", "pear"], image_size=(64, 96)
    )
    detector.confidence_threshold = 0.001
    (folder / "run").mkdir()
    detector.save(folder / "run/model.keras")
    recipe = training.CocoRecipe(image_size=64, longer_side=96)
    (folder / "run/recipe.json").write_text(recipe.to_json())
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(2, 1, name="wide")(image)
    x = keras.layers.GlobalMaxPooling2D()(x)
    keras.Model(image, ClassNames(["fig", "pear"])(x)).save(
        folder / "classifier.keras"
    )
    random = np.random.default_rng(0).integers(0, 256, (30, 40, 3))
    keras.utils.save_img(folder / "image.png", random, scale=False)
    return folder


@pytest.fixture(autouse=True)
def there(folder, monkeypatch):
    monkeypatch.chdir(folder)


@pytest.mark.parametrize(
    "options",
    [
        ["--model", "run"],
        ["--model", "run/model.keras"],
        ["--weights", "run/model.keras"],
        ["--weights", "run"],
    ],
)
def test_detections_are_explained_on_one_page(options, capsys, tmp_path):
    output = str(tmp_path / "out")
    least = ["--min-score", "0", "--max-detections", "2", "--output", output]
    explain.main(["image.png", *options, *least])
    assert capsys.readouterr().out.endswith(f"Saved {output}/index.html\n")
    with open(f"{output}/index.html", encoding="utf-8") as file:
        page = file.read()
    assert re.findall("<h[12]>(.*?)</h", page) == [
        "What decides: run",
        "What speaks for each detection",
        "What attention weighs",
    ]
    assert page.count("data:image/png;base64,") == 3
    for caption in ("image.png", "run", "run, image.png"):
        assert f"<figcaption>{caption}</figcaption>" in page
    assert sorted(os.listdir(output)) == [
        "attention_1.png",
        "detections_1.png",
        "index.html",
        "scales_1_1.png",
    ]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("image.png --model run --compare a.keras", "--compare can be given"),
        (
            "image.png --model run --data . --ablation-images 4",
            "--data, --ablation-images can be given for classifiers alone. "
            "Received: run, which is a detector",
        ),
        ("--model run", "A detector is explained on images, IMAGE"),
        ("image.png --model run --method scorecam", "method='scorecam'"),
        ("image.png --model run --layer pol1_pool", "did you mean pool1_pool"),
        (
            "image.png --model classifier.keras --min-score 0.5",
            "--min-score can be given for detectors alone. "
            "Received: classifier.keras, which is a classifier",
        ),
        (
            "image.png --model classifier.keras --max-detections 3",
            "--max-detections can be given for detectors alone",
        ),
        (
            "image.png --model classifier.keras --compare run",
            "--compare can be given for classifiers alone",
        ),
        ("image.png --weights none.pth", "none.pth cannot be used"),
        (
            "image.png --weights classifier.keras",
            "classifier.keras cannot be used: It must be the name",
        ),
    ],
)
def test_what_has_no_meaning_is_refused_by_name(arguments, message, tmp_path):
    output = str(tmp_path / "out")
    with pytest.raises(SystemExit, match=re.escape(message)) as caught:
        explain.main([*arguments.split(), "--output", output])
    assert caught.value.code.startswith("explain: ")
    assert "\n" not in caught.value.code and not os.path.exists(output)


@pytest.mark.parametrize("bad", ["-0.1", "1.1", "nan"])
def test_a_score_is_a_share(bad, capsys):
    with pytest.raises(SystemExit):
        explain.parse(["a.png", f"--min-score={bad}"])
    assert "is not from 0 to 1" in capsys.readouterr().err


def test_model_and_weights_exclude_each_other(capsys):
    with pytest.raises(SystemExit):
        explain.parse(["a.png", "--model", "run", "--weights", "a.keras"])
    assert "not allowed with argument --model" in capsys.readouterr().err


def test_options_reach_the_maps_and_defaults_are_those_of_the_help(
    monkeypatch, capsys, tmp_path
):
    seen = []
    monkeypatch.setattr(
        explain.detection_report, "detection_section", lambda *x: seen.append(x)
    )
    monkeypatch.setattr(explain, "write_page", lambda *_: None)
    output = ["--output", str(tmp_path)]
    explain.main(["image.png", "--model", "run", *output])
    options = "--method gradcam --layer pool1_pool --max-detections 3"
    options += " --min-score 0.1"
    explain.main(["image.png", "--model", "run", *output, *options.split()])
    assert [x[3:] for x in seen] == [
        ("layercam", None, 5, 0.3),
        ("gradcam", "pool1_pool", 3, 0.1),
    ]
    with pytest.raises(SystemExit):
        explain.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "(default: gradcam of classifiers, layercam of detectors)" in text
    assert "that are explained (default: 5)" in text
    assert "from 0 to 1 (default: 0.3)" in text


def test_models_of_one_name_are_named_by_their_paths():
    name = explained_models._short_name
    paths = ["a/model.keras", "b/a.keras", "c/d.keras"]
    assert name(paths[0], paths) == "a/model.keras"
    assert name(paths[2], paths) == "d"
    assert name("x/best/model.keras", ["x/best/model.keras"]) == "best"
