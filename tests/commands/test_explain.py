"""The page that the command writes, and what it refuses."""

import os
import re

import keras
import numpy as np
import pytest

from keras_epsanet.commands import explain
from keras_epsanet.layers import PSA, ClassNames, Resizing

if keras.backend.backend() != "tensorflow":
    pytest.skip("images are decoded by TensorFlow", allow_module_level=True)
pytest.importorskip("matplotlib")

COLORS = ("blue", "green", "red")


def make_model(path, scales=True):
    """File of a classifier that tells the color of an image."""
    image = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(Resizing(16, 16)(image))
    x = keras.layers.AveragePooling2D(2, name="pool")(x)
    if scales:
        x = keras.layers.Conv2D(8, 1, name="wide")(x)
        x = PSA(8, (3, 5), (1, 2), reduction=2, name="conv2_block1_psa")(x)
        x = keras.layers.Conv2D(3, 1, name="narrow")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(3, "softmax", name="colors")(x)
    model = keras.Model(image, ClassNames(COLORS)(x))
    model.get_layer("colors").kernel.assign(9 * np.eye(3)[::-1])
    os.makedirs(os.path.dirname(path), exist_ok=True)
    model.save(path)
    return str(path)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [
        make_model(folder / "first" / "model.keras"),
        make_model(folder / "plain.keras", scales=False),
    ]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Folder with two images of each color, of different sizes."""
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate(COLORS):
        os.makedirs(f"images/{name}")
        for k in range(2):
            image = np.full((18 + i, 24, 3), 20.0)
            image[4:12, 4:12, 2 - i] = 255
            keras.utils.save_img(f"images/{name}/{k}.png", image, scale=False)
    return "images"


def read_page(folder="runs/explained"):
    with open(f"{folder}/index.html", encoding="utf-8") as file:
        return file.read()


def headings(page):
    return re.findall(r"<h2>(.*?)</h2>", page)


def test_images_are_explained_on_one_page(models, folder, capsys):
    explain.main([folder, "--model", models[0], "--max-images", "4"])
    assert capsys.readouterr().out.endswith("Saved runs/explained/index.html\n")
    page = read_page()
    assert headings(page) == [
        "What speaks for the class",
        "What attention weighs",
    ]
    assert "<h1>What decides: first</h1>" in page
    # Four maps, the bars, and the scales of each image.
    assert page.count("<img ") == page.count("data:image/png;base64,") == 9
    for i in range(1, 5):
        assert os.path.exists(f"runs/explained/class_{i}.png")
    assert "images/blue/0.png" in page and "images/red/1.png" not in page


def test_labeled_images_show_mistakes_too(models, folder):
    explain.main(
        [folder, "--model", models[0], "--data", folder, "--output", "out"]
    )
    page = read_page("out")
    assert headings(page)[2:] == ["What each scale is worth", "What is wrong"]
    assert "first: " in page and "of 6 images right" in page


def test_without_images_those_of_the_data_are_explained(models, folder):
    arguments = ["--model", models[1], "--data", folder]
    explain.main([*arguments, "--max-images", "3"])
    page = read_page()
    # One of each class; and no section about scales, which it lacks.
    for i, name in enumerate(COLORS, start=1):
        assert f"{i}: {name}" in page
    assert headings(page) == ["What speaks for the class", "What is wrong"]
    assert "plain: 100.00% of 6 images right" in page


def test_without_images_other_classes_than_clothes_need_data(models, folder):
    message = "needs IMAGE or --data: .*Received: a model of blue, green, red$"
    with pytest.raises(SystemExit, match=message):
        explain.main(["--model", models[1]])
    assert not os.path.exists("runs")


def test_how_many_images_are_left_out_is_said(models, folder, capsys):
    arguments = [folder, "--model", models[1], "--max-images"]
    for most, line in (
        (2, "Explaining 2 images of 6 (--max-images 2)"),
        (6, "Explaining 6 images"),
    ):
        explain.main([*arguments, str(most)])
        assert capsys.readouterr().out.splitlines()[0] == line
    explain.main(["--data", *arguments, "3"])
    line = capsys.readouterr().out.splitlines()[0]
    assert line == "Explaining 3 images of 6 (--max-images 3)"


def test_two_models_stand_beside_each_other(models, folder):
    explain.main(
        [f"{folder}/red", "--model", models[0], "--compare", models[1]]
    )
    page = read_page()
    assert "<h1>What decides: first, plain</h1>" in page
    first = keras.utils.load_img("runs/explained/class_1.png")
    explain.main([f"{folder}/red", "--model", models[0]])
    alone = keras.utils.load_img("runs/explained/class_1.png")
    # Three pictures beside one another, not two.
    assert first.width > 1.3 * alone.width and first.height == alone.height


def test_images_are_not_replaced_by_pictures(folder, monkeypatch):
    os.rename(f"{folder}/red", f"{folder}/page")
    os.rename(f"{folder}/page/0.png", f"{folder}/page/scales_1_2.png")
    monkeypatch.setattr(explain, "load_models", None)
    with pytest.raises(SystemExit) as caught:
        explain.main([folder, "--output", f"./{folder}/page"])
    assert caught.value.code == (
        "explain: What is written must not replace what is read. Received: "
        "./images/page/scales_1_2.png, which is images/page/scales_1_2.png"
    )


def test_bad_files_are_named_and_skipped(models, folder, tmp_path, capsys):
    (tmp_path / "images" / "zzz.png").write_text("no image")
    (tmp_path / "images" / "zzz.tif").write_text("no image either")
    with pytest.raises(SystemExit, match="1 of 7 images skipped"):
        explain.main([folder, "--model", models[1]])
    errors = capsys.readouterr().err
    assert "images/zzz.png" in errors
    assert "explain: 1 file left out: .tif is not read" in errors
    assert "images/red/1.png" in read_page()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["none.png"], "images skipped"),
        (["empty"], "no images in empty"),
        (["images", "--layer", "wde"], "did you mean wide"),
        (["images", "--compare", "none.keras"], "none.keras cannot be used"),
    ],
)
def test_what_cannot_be_used_is_one_line(models, folder, arguments, message):
    os.makedirs("empty")
    with pytest.raises(SystemExit, match=message):
        explain.main([*arguments, "--model", models[0]])
    assert not os.path.exists("runs")


def test_options_are_checked(capsys):
    for bad in (["--method", "cam"], ["--max-images", "0"]):
        with pytest.raises(SystemExit):
            explain.parse(bad)
    assert explain.parse(["--method", "scorecam"]).method == "scorecam"


def test_defaults_are_those_of_the_help():
    assert vars(explain.parse([])) == {
        "images": [],
        "model": "runs/classifier/model.keras",
        "weights": None,
        "compare": None,
        "data": None,
        # Of the kind of the model.
        "method": None,
        "layer": None,
        "max_images": 12,
        "ablation_images": None,
        "max_detections": None,
        "min_score": None,
        "output": "runs/explained",
    }


@pytest.fixture
def parts(monkeypatch):
    """What the sections of the page are made of."""
    parts = {}
    for name in ("class", "attention", "ablation", "error"):
        is_attention = name == "attention"
        monkeypatch.setattr(
            explain.attention_report if is_attention else explain.report,
            f"{name}_section",
            lambda *given, name=name: parts.update({name: given}),
        )
    monkeypatch.setattr(explain, "write_page", lambda *_: None)
    monkeypatch.setattr(explain, "BATCH_SIZE", 2)
    # So that every batch has images of one size.
    monkeypatch.setattr(explain.evaluation, "labeled_batches", batches_of_two)
    return parts


def batches_of_two(model, data, size):
    assert size == 2
    for i in range(5):
        yield [i, i], np.full((2, 4, 4, 3), i)


@pytest.mark.parametrize("asked, batches", [(3, 2), (4, 2), (5, 3)])
def test_options_reach_the_sections(models, folder, parts, asked, batches):
    options = f"--data {folder} --layer wide --method gradcam++ --output out"
    explain.main(
        [f"{folder}/red", "--model", models[0], *options.split()]
        + ["--ablation-images", str(asked)]
    )
    named, images, output, method, layer = parts["class"]
    assert list(named) == ["first"] and len(images) == 2
    assert (output, method, layer) == ("out", "gradcam++", "wide")
    # As many batches as hold the images that were asked for.
    numbers = list(range(batches))
    _, _, output, shown = parts["attention"]
    assert output == "out"
    assert [x[0, 0, 0, 0] for x in shown["first"]] == numbers
    _, some, output = parts["ablation"]
    assert output == "out"
    assert [labels.tolist() for _, labels in some["first"]] == [
        [i, i] for i in numbers
    ]
    # Mistakes are looked for among all of them.
    _, every, _ = parts["error"]
    assert len(list(every["first"])) == 5


def test_images_without_data_have_no_mistakes(models, folder, parts):
    explain.main([folder, "--model", models[1]])
    assert parts.keys() == {"class", "attention"}
    assert parts["attention"][3] == {"plain": []}
