import csv
import errno
import json
import os

import keras
import numpy as np
import pytest

from keras_epsanet.commands import predict
from keras_epsanet.data import decode_image
from keras_epsanet.layers import ClassNames, Resizing

if keras.backend.backend() != "tensorflow":
    pytest.skip("images are decoded by TensorFlow", allow_module_level=True)

COLORS = ("blue", "green", "red")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """File of a classifier that tells the color of an image."""
    path = tmp_path_factory.mktemp("model") / "model.keras"
    image = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(Resizing(8, 8)(image))
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(0.5)(x)  # Which does nothing here.
    x = keras.layers.Dense(3, "softmax", kernel_initializer="zeros")(x)
    model = keras.Model(image, ClassNames(COLORS)(x))
    model.layers[-2].kernel.assign(9 * np.eye(3)[::-1])
    model.save(path)
    return str(path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Folder with an image of each color, at different depths, and others."""
    monkeypatch.chdir(tmp_path)
    for i, path in enumerate(("b/x/blue.png", "green.PNG", "a/red.jpg")):
        os.makedirs(f"images/{os.path.dirname(path)}", exist_ok=True)
        image = np.zeros((9 + i, 12, 3))
        image[..., 2 - i] = 255
        keras.utils.save_img(
            f"images/{path}",
            image,
            scale=False,
            file_format=path[-3:].lower().replace("jpg", "jpeg"),
        )
    for name in ("notes.txt", ".hidden.png"):
        (tmp_path / "images" / name).touch()
    return "images"


FILES = ["images/green.PNG", "images/a/red.jpg", "images/b/x/blue.png"]


def test_a_folder_is_all_images_in_it(folder):
    assert predict.find_images("predict", [folder]) == FILES
    assert predict.find_images("predict", ["none.png", "images/a"]) == [
        "none.png",
        "images/a/red.jpg",
    ]


def test_classes_are_printed_the_most_probable_first(model, folder, capsys):
    predict.main([folder, "--model", model, "--top", "2"])
    streams = capsys.readouterr()
    assert streams.err == "predict: 1 file left out: .txt is not read\n"
    lines = streams.out.splitlines()
    assert lines[::3] == FILES
    assert [x.split()[1] for x in lines[1::3]] == ["green", "red", "blue"]
    percents = [float(x.split()[0][:-1]) for x in lines if "%" in x]
    assert len(percents) == 6
    assert all(a > b for a, b in zip(percents[::2], percents[1::2]))


def test_a_run_is_its_model(model, folder, capsys):
    predict.main([folder, "--model", os.path.dirname(model)])
    of_run = capsys.readouterr().out
    predict.main([folder, "--model", model])
    assert of_run == capsys.readouterr().out != ""


@pytest.mark.parametrize("size", [1, 2, 16])
def test_batches_of_any_size_predict_the_same(model, folder, size, monkeypatch):
    shapes = []
    same_shapes = predict.same_shapes

    def spy(*arguments):
        for paths, batch in same_shapes(*arguments):
            shapes.append(batch.shape)
            yield paths, batch

    monkeypatch.setattr(predict, "same_shapes", spy)
    predict.main(
        [folder, "--model", model, "--output", "found.json"]
        + ["--batch-size", str(size)]
    )
    assert [x[0] for x in shapes] == {1: [1, 1, 1], 2: [2, 1], 16: [3]}[size]
    loaded = keras.saving.load_model(model)
    with open("found.json") as file:
        found = json.load(file)
    assert [x["file"] for x in found] == FILES
    for entry in found:
        image = decode_image(entry["file"])
        (expected,) = loaded.layers[-1].decode(loaded(image[None]), 3)
        for prediction, (name, probability) in zip(
            entry["predictions"], expected, strict=True
        ):
            assert prediction["class"] == name
            assert prediction["probability"] == pytest.approx(
                probability, abs=1e-6
            )


def test_csv_has_a_line_for_every_class(model, folder, capsys):
    arguments = ["--model", model, "--top", "2", "--output", "found.csv"]
    predict.main([folder, *arguments])
    with open("found.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == sorted(2 * FILES, key=FILES.index)
    assert [row["rank"] for row in rows] == 3 * ["1", "2"]
    assert rows[0]["class"] == "green" and float(rows[0]["probability"]) > 0.9
    assert capsys.readouterr().out == (
        "Saved the predictions of 3 in found.csv\n"
    )


def test_bad_files_are_named_and_skipped(model, folder, tmp_path, capsys):
    (tmp_path / "images" / "c.png").write_text("no image")
    arguments = [folder, "none.png", "--model", model, "--output", "a.json"]
    with pytest.raises(SystemExit) as caught:
        predict.main(arguments)
    assert caught.value.code == "predict: 2 of 5 images skipped"
    errors = capsys.readouterr().err.splitlines()
    assert [line.split(" cannot")[0] for line in errors] == [
        "predict: 1 file left out: .txt is not read",
        "predict: images/c.png",
        "predict: none.png",
    ]
    written = json.loads((tmp_path / "a.json").read_text())
    assert [entry["file"] for entry in written] == FILES


def test_a_folder_without_images_is_no_success(model, tmp_path):
    output = tmp_path / "found.json"
    output.write_text("of before")
    options = ["--model", model, "--output", str(output)]
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="no images in"):
        predict.main([str(tmp_path / "empty"), *options])
    assert output.read_text() == "of before"


def test_predictions_of_before_are_not_replaced_by_none(model, tmp_path):
    output = tmp_path / "found.csv"
    output.write_text("of before")
    options = ["--model", model, "--output", str(output)]
    with pytest.raises(SystemExit):
        predict.main([str(tmp_path / "none.png"), *options])
    assert output.read_text() == "of before"


def test_images_of_one_shape_go_together_without_a_resizing_layer():
    images = [(i, np.zeros((int(x), 4, 3))) for i, x in enumerate("333345")]
    found = list(predict.same_shapes(images, 3, lambda x: x))
    assert [paths for paths, _ in found] == [[0, 1, 2], [3], [4], [5]]
    assert [batch.shape[1] for _, batch in found] == [3, 3, 4, 5]


def test_names_that_are_no_utf8_are_printed_and_written(model, folder, capsys):
    os.rename("images/a/red.jpg", b"images/a/r\xfcd.jpg")
    for output in ([], ["--output", "a.csv"], ["--output", "a.json"]):
        predict.main(["images/a", "--model", model, *output])
    assert capsys.readouterr().out.startswith("images/a/r\\xfcd.jpg\n")
    with open("a.csv", newline="") as file:
        assert next(csv.DictReader(file))["file"] == "images/a/r\\xfcd.jpg"


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("a.png --model none.keras", "none.keras cannot be used: "),
        ("a.png --top 0", "invalid choice: 0"),
        ("a.png --batch-size 0", "`batch_size` must be a positive integer"),
        ("a.png --output a.txt", "a.txt ends neither in .json nor"),
    ],
)
def test_bad_option_ends_with_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        predict.main(arguments.split())
    text = caught.value.code
    if not isinstance(text, str):
        assert text == 2
        text = capsys.readouterr().err.splitlines()[-1]
    assert text.startswith("predict") and message in text
    assert "\n" not in text


def test_a_file_that_cannot_be_written_ends_with_a_line(model, folder):
    # Before any work: there is no such model.
    arguments = [folder, "--model", "none.keras", "--output", "none/a.csv"]
    with pytest.raises(SystemExit) as caught:
        predict.main(arguments)
    assert caught.value.code == (
        "predict: none/a.csv cannot be written: No such file or directory"
    )


def test_predictions_that_cannot_be_written_are_printed(
    model, folder, monkeypatch, capsys
):
    """As of a disk that is full only then."""

    def fail(path, text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(predict, "write_file", fail)
    message = "predict: a.csv cannot be written: No space left on device"
    with pytest.raises(SystemExit, match=message):
        predict.main([folder, "--model", model, "--output", "a.csv"])
    assert capsys.readouterr().out.splitlines()[::4] == FILES


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("memory")])
def test_what_was_predicted_is_kept(model, folder, monkeypatch, capsys, error):
    same_shapes = predict.same_shapes

    def interrupted(*arguments):
        yield next(same_shapes(*arguments))
        raise error

    monkeypatch.setattr(predict, "same_shapes", interrupted)
    options = ["--model", model, "--batch-size", "1", "--output", "a.json"]
    with pytest.raises(SystemExit) as caught:
        predict.main([folder, *options])
    expected = 130 if error is KeyboardInterrupt else "predict: memory"
    assert caught.value.code == expected
    with open("a.json") as file:
        assert [x["file"] for x in json.load(file)] == FILES[:1]


def test_a_table_does_not_replace_what_is_read(folder, tmp_path):
    (tmp_path / "a.csv").write_text("an image, perhaps")
    arguments = [folder, "a.csv", "--output", "./a.csv"]
    message = "predict: What .* Received: ./a.csv, which is a.csv"
    with pytest.raises(SystemExit, match=message):
        predict.main(arguments)
    assert (tmp_path / "a.csv").read_text() == "an image, perhaps"


def test_a_model_without_class_names_is_refused(tmp_path):
    image = keras.Input((32, 32, 3))
    keras.Model(image, image).save(tmp_path / "model.keras")
    with pytest.raises(SystemExit, match="it has no layer ClassNames"):
        predict.main(["a.png", "--model", str(tmp_path / "model.keras")])


@pytest.mark.parametrize("top, fits", [(1, True), (10, True), (11, False)])
def test_up_to_ten_classes_are_named(top, fits, capsys):
    arguments = ["a.png", "--top", str(top), "--batch-size", "1"]
    if fits:
        assert predict.parse(arguments).top == top
    else:
        with pytest.raises(SystemExit):
            predict.parse(arguments, "mine")
        assert "mine: error: " in capsys.readouterr().err


def test_defaults_are_those_of_the_help(monkeypatch):
    monkeypatch.setattr("sys.argv", ["predict", "a.png"])
    assert vars(predict.parse()) == {
        "images": ["a.png"],
        "model": "runs/classifier/model.keras",
        "top": 3,
        "batch_size": 16,
        "output": None,
    }


def test_images_are_resized_as_the_model_does_it(model):
    loaded = keras.saving.load_model(model)
    layer = predict.resizing(loaded)
    assert layer(np.zeros((2, 9, 5, 3))).shape == (2, 8, 8, 3)
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    assert predict.resizing(plain)(3) == 3
    with pytest.raises(ValueError, match="no layer ClassNames"):
        predict.find_class_names(plain)
    assert predict.find_class_names(loaded) is loaded.layers[-1]


def test_hidden_folders_and_other_files_are_left_out(folder):
    for name in (".cache/a.png", "b/.a.png", "b/notes.txt", "b/Z.WEBP"):
        os.makedirs(f"images/{os.path.dirname(name)}", exist_ok=True)
        open(f"images/{name}", "w").close()
    files = predict.find_images("predict", ["images/b", "images/notes.txt"])
    assert files == [
        "images/b/Z.WEBP",
        "images/b/x/blue.png",
        "images/notes.txt",
    ]


def test_every_option_is_tested():
    actions = predict.make_parser("predict")._actions
    names = {action.dest for action in actions} - {"help"}
    # Each is in one of the tests above.
    assert names == {"images", "model", "top", "batch_size", "output"}
