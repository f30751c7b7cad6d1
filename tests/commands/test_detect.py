import errno
import inspect
import json
import os

import keras
import numpy as np
import pytest

from keras_epsanet import detection, training
from keras_epsanet.commands import detect, options
from keras_epsanet.data.coco.annotations import load_coco
from keras_epsanet.detection import evaluate_coco
from keras_epsanet.detection.detector import Detector
from keras_epsanet.detection.findings import Findings

pytest.importorskip("matplotlib")
if keras.backend.backend() != "tensorflow":
    pytest.skip("images are decoded by TensorFlow", allow_module_level=True)

# Each has a test below.
OPTIONS = {
    "images",
    "run",
    "weights",
    "output",
    "frames",
    "json",
    "csv",
    "min_score",
}


class Model:
    """Finds two objects, in pixels of what it is given."""

    bounding_box_format = "xyxy"
    class_names = None  # As in a file of an older version.
    input_shape = (None, None, None, 3)
    detect = Detector.detect
    masks = {}

    def predict(self, batch, batch_size, verbose):
        self.shape = batch["images"].shape
        self.size = batch["image_size"]
        return {
            "boxes": np.array([[[2, 4, 20, 30], [0, 0, 60, 70], [-1] * 4]]),
            "labels": np.array([[1, 0, -1]]),
            "confidence": np.array([[0.9, 0.4, -1]], "float32"),
            "num_detections": np.array([2]),
            **self.masks,
        }


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A detector in the folder `run`, and an image of 40×20 pixels."""
    recipe = training.CocoRecipe(image_size=40, longer_side=80)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/recipe.json").write_text(recipe.to_json())
    (tmp_path / "run/class_names.json").write_text('["fig", "pear"]')
    (tmp_path / "run/model.keras").touch()
    write_image(tmp_path / "image.png")
    monkeypatch.chdir(tmp_path)
    model = Model()

    def load_model(path, compile):
        model.path = path
        return model

    monkeypatch.setattr(keras.saving, "load_model", load_model)
    return model


def write_image(path, channels=3):
    path.parent.mkdir(exist_ok=True, parents=True)
    keras.utils.save_img(path, np.zeros((20, 40, channels), "uint8"))


def run(*options, images=("image.png",)):
    arguments = ["--run", "run", "--output", "found", *options, *images]
    detect.main(list(map(str, arguments)))


def pictures(folder):
    return sorted(str(x.relative_to(folder)) for x in folder.rglob("*.png"))


@pytest.mark.parametrize(
    "options, names",
    [
        ([], ["pear", "fig"]),  # From 0.3 on.
        (["--min-score", 0.5], ["pear"]),
        (["--min-score", 0.4], ["pear", "fig"]),
        (["--min-score", 0.95], []),
    ],
)
def test_what_has_the_score_is_named(options, names, model, capsys):
    run(*options)
    first, *lines, last = capsys.readouterr().out.splitlines()
    if not names:
        saved, last = lines + [last]
        assert first == "image.png: nothing found"
        assert last.startswith("Nothing was found with a score of 0.95 or more")
        assert saved == "Saved the pictures of 1 in found"
        return
    assert first == f"image.png: {len(names)} objects"
    assert [line.split()[0] for line in lines] == names
    assert last == "Saved the pictures of 1 in found"


def test_boxes_are_those_of_the_image_s_pixels(model, capsys):
    run()
    # To 40×80 pixels, and rows of zeros for the detector.
    assert model.shape == (1, 64, 96, 3)
    # Where the image ends, for its boxes end there too.
    assert model.size.tolist() == [[40, 80]]
    pear, fig = capsys.readouterr().out.splitlines()[1:3]
    assert pear == "  pear 0.90 [ 1.  2. 10. 15.]"
    assert pear.split("[")[1] == " 1.  2. 10. 15.]"
    assert fig.split("[")[1].split() == ["0.", "0.", "30.", "20.]"]


def test_the_run_is_read_and_pictures_go_to_the_output(model, tmp_path):
    run()
    assert model.path == "run/model.keras"
    assert pictures(tmp_path / "found") == ["image.png"]


def test_a_detector_of_mmdetection_is_made_instead(
    model, monkeypatch, tmp_path
):
    def load_trained(source):
        model.source, model.class_names = source, ("fig", "pear")
        model.image_size = 40, 80
        return model

    monkeypatch.setattr(options, "load_trained", load_trained)
    name = "mask_rcnn_resnet50_fpn_1x_coco"
    detect.main(["--weights", name, "--output", "found", "image.png"])
    assert model.source == name and not hasattr(model, "path")
    assert pictures(tmp_path / "found") == ["image.png"]


@pytest.mark.parametrize("weights", ["none.pth", "mask_rcnn_resnet5", "x"])
def test_weights_that_are_none_are_named(weights, model):
    options = ["--weights", weights, "--output", "found", "image.png"]
    message = f"^detect: {weights} cannot be used: .*Received: .*{weights}"
    with pytest.raises(SystemExit, match=message):
        detect.main(options)


def test_gray_images_are_taken_too(model, tmp_path):
    write_image(tmp_path / "gray.jpg", channels=1)
    run(images=["gray.jpg"])
    assert model.shape[-1] == 3


def test_what_is_found_is_drawn(model, monkeypatch):
    drawn = []
    monkeypatch.setattr(detection, "draw", lambda *x, **y: drawn.append((x, y)))
    masks = {"masks": np.ones((1, 3, 28, 28))}
    monkeypatch.setattr(Model, "masks", masks)
    run("--min-score", 0.4)
    (((image, boxes, labels, scores, names), options),) = drawn
    assert image.shape == (20, 40, 3) and list(names) == ["fig", "pear"]
    assert boxes.tolist() == [[1, 2, 10, 15], [0, 0, 30, 20]]
    assert labels.tolist() == [1, 0]
    np.testing.assert_allclose(scores, [0.9, 0.4])
    assert options["masks"].shape == (2, 20, 40)
    assert options["path"] == "found/image.png"


def test_masks_cost_nothing_where_none_is_written(model, monkeypatch):
    masks = {"masks": np.ones((1, 3, 28, 28))}
    monkeypatch.setattr(Model, "masks", masks)
    monkeypatch.setattr(detect, "Findings", Spy)
    Spy.seen.clear()
    run("--csv", "a.csv")
    run("--json", "a.json")
    csv, json = Spy.seen
    assert "masks" not in csv and json["masks"].shape == (2, 20, 40)


class Spy(Findings):
    seen = []

    def add(self, file, sides, found):
        assert (file, tuple(sides)) == ("image.png", (20, 40))
        self.seen.append(dict(found))
        super().add(file, sides, found)


def test_files_are_written_as_a_whole(model, monkeypatch, tmp_path):
    """By the function that renames them when they are whole."""
    written = {}
    monkeypatch.setattr(detect, "write_file", written.__setitem__)
    run("--json", "a.json", "--csv", "a.csv")
    assert set(written) == {"a.json", "a.csv"}
    assert not (tmp_path / "a.json").exists()
    assert not (tmp_path / "a.csv").exists()


@pytest.mark.parametrize("output", ["photos", "linked", "photos/../photos"])
def test_images_are_not_replaced_by_their_pictures(
    model, monkeypatch, tmp_path, output
):
    write_image(tmp_path / "photos/a.png")
    before = (tmp_path / "photos/a.png").read_bytes()
    (tmp_path / "linked").symlink_to("photos")
    monkeypatch.setattr(detect, "open_detector", None)  # Before any work.
    with pytest.raises(SystemExit) as caught:
        run("--output", output, images=["photos"])
    assert caught.value.code == (
        "detect: What is written must not replace what is read. "
        f"Received: {output}/a.png, which is photos/a.png"
    )
    assert (tmp_path / "photos/a.png").read_bytes() == before


def test_pictures_of_other_names_may_lie_beside_the_images(model, tmp_path):
    write_image(tmp_path / "photos/a.jpg")
    run("--output", "photos", images=["photos"])
    assert pictures(tmp_path / "photos") == ["a.png"]
    # Which are images then, and their pictures have names of their own.
    run("--output", "photos", images=["photos"])
    assert pictures(tmp_path / "photos") == [
        "a.jpg.png",
        "a.png",
        "a.png.png",
    ]


@pytest.mark.parametrize("path", ["none/a", "/proc/a", "taken"])
@pytest.mark.parametrize("ending", ["json", "csv"])
def test_a_table_that_cannot_be_written_is_told_before_any_work(
    model, monkeypatch, tmp_path, path, ending
):
    (tmp_path / f"taken.{ending}").mkdir()
    monkeypatch.setattr(detect, "open_detector", None)
    with pytest.raises(SystemExit) as caught:
        run(f"--{ending}", f"{path}.{ending}")
    message = f"detect: {path}.{ending} cannot be written: "
    assert caught.value.code.startswith(message)
    assert ".tmp" not in caught.value.code


def fail_of_json(path, text, write_file=detect.write_file):
    if path.endswith(".json"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    write_file(path, text)


def test_a_table_is_written_where_another_cannot_be(model, monkeypatch, capsys):
    monkeypatch.setattr(detect, "write_file", fail_of_json)
    with pytest.raises(SystemExit) as caught:
        run("--json", "a.json", "--csv", "a.csv")
    assert caught.value.code == (
        "detect: a.json cannot be written: No space left on device"
    )
    with open("a.csv") as file:
        assert len(file.readlines()) == 3
    # It is told last.
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "Saved the pictures of 1 in found"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("memory")])
def test_the_first_error_stays_where_a_table_cannot_be_written(
    model, monkeypatch, capsys, error
):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(detect, "write_file", fail_of_json)
    monkeypatch.setattr(detect, "run_videos", fail)
    with pytest.raises(SystemExit) as caught:
        run("--json", "a.json", "--csv", "a.csv")
    expected = 130 if error is KeyboardInterrupt else "detect: memory"
    assert caught.value.code == expected
    line = "detect: a.json cannot be written: No space left on device"
    assert line in capsys.readouterr().err.splitlines()
    with open("a.csv") as file:
        assert len(file.readlines()) == 3


def test_a_folder_is_all_images_in_it(model, tmp_path, capsys):
    for name in ("b/1.png", "a/1.jpg", "a/c/1.webp.jpg", "a/1.png"):
        write_image(tmp_path / "images" / name)
    for name in ("notes.txt", "2.heic", "3.mp4"):
        (tmp_path / "images" / name).touch()
    run(images=["images"])
    # None overwrites another one's.
    assert pictures(tmp_path / "found") == [
        "a/1.jpg.png",
        "a/1.png.png",
        "a/c/1.webp.png",
        "b/1.png",
    ]
    streams = capsys.readouterr()
    assert "3 files left out: .heic, .mp4, .txt are not read" in streams.err
    assert "videos are read if named" in streams.err
    named = [x for x in streams.out.splitlines() if ":" in x]
    assert [x.split(":")[0] for x in named] == [
        "images/a/1.jpg",
        "images/a/1.png",
        "images/a/c/1.webp.jpg",
        "images/b/1.png",
    ]


def test_bad_files_are_named_and_skipped(model, tmp_path, capsys):
    (tmp_path / "bad.jpg").write_text("no image")
    with pytest.raises(SystemExit) as caught:
        run(*("--json", "a.json"), images=["bad.jpg", "none.png", "image.png"])
    assert caught.value.code == "detect: 2 of 3 images skipped"
    errors = capsys.readouterr().err.splitlines()
    assert [line.split(" cannot")[0] for line in errors] == [
        "detect: bad.jpg",
        "detect: none.png",
    ]
    assert pictures(tmp_path / "found") == ["image.png"]
    written = json.loads((tmp_path / "a.json").read_text())
    assert [x["file_name"] for x in written["images"]] == ["image.png"]


def test_json_is_of_coco_s_form(model, tmp_path):
    pytest.importorskip("pycocotools")
    run("--json", "a.json", "--min-score", 0.5)
    contents = json.loads((tmp_path / "a.json").read_text())
    truth = load_coco(contents)
    assert truth.imgs[1]["file_name"] == "image.png"
    (pear,) = truth.anns.values()
    assert truth.cats[pear["category_id"]]["name"] == "pear"
    assert pear["bbox"] == [1, 2, 9, 13] and pear["area"] == 117
    assert pear["score"] == pytest.approx(0.9)
    # And as results, too.
    found = evaluate_coco(str(tmp_path / "a.json"), contents["annotations"])
    assert found["AP"] == pytest.approx(1)


def test_json_has_masks_as_run_lengths(model, tmp_path, monkeypatch):
    mask = pytest.importorskip("pycocotools.mask")
    probabilities = np.ones((1, 3, 28, 28))
    monkeypatch.setattr(Model, "masks", {"masks": probabilities})
    run("--json", "a.json", "--csv", "a.csv")
    objects = json.loads((tmp_path / "a.json").read_text())["annotations"]
    drawn = mask.decode([x["segmentation"] for x in objects])
    boxes = np.array([x["bbox"] for x in objects])
    boxes[:, 2:] += boxes[:, :2]
    expected = detection.paste_masks(probabilities[0, :2], boxes, 20, 40)
    np.testing.assert_array_equal(np.moveaxis(drawn, -1, 0), expected)
    assert [x["area"] for x in objects] == expected.sum((1, 2)).tolist()


def test_csv_has_a_line_for_each_object(model, tmp_path):
    run("--csv", "a.csv")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0] == "file,class,score,x1,y1,x2,y2"
    assert [x.split(",")[:2] for x in lines[1:]] == [
        ["image.png", "pear"],
        ["image.png", "fig"],
    ]
    assert lines[1].split(",")[3:] == ["1.0", "2.0", "10.0", "15.0"]


def test_ten_images_have_a_line_for_each_object(model, tmp_path, capsys):
    for i in range(10):
        write_image(tmp_path / f"images/{i:02}.png")
    run(images=["images"])
    lines = capsys.readouterr().out.splitlines()
    assert sum("pear 0.90" in line for line in lines) == 10
    assert len(lines) == 31 and lines[-1].startswith("Saved the pictures of 10")


@pytest.mark.parametrize("last_is_bad", [False, True])
def test_of_many_images_there_is_a_progress_bar(
    model, tmp_path, capsys, last_is_bad
):
    for i in range(11):
        write_image(tmp_path / f"images/{i:02}.png")
    if last_is_bad:
        (tmp_path / "images/99.png").write_text("no image")
        with pytest.raises(SystemExit, match="1 of 12 images skipped"):
            run("--csv", "a.csv", images=["images"])
    else:
        run("--csv", "a.csv", images=["images"])
    lines = capsys.readouterr().out.splitlines()
    number = 12 if last_is_bad else 11
    assert sum(f"{number}/{number}" in line for line in lines) == 1
    assert lines[-2:] == [
        "22 objects in 11 images: pear 11, fig 11",
        "Saved the pictures of 11 in found",
    ]
    assert not any("pear 0.90" in line for line in lines)
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 23


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("a.png --run none", "none cannot be used: there is no such file"),
        ("a.png", "runs/detector cannot be used: it is the default"),
        ("a.png --min-score 2", "2.0 is not from 0 to 1"),
        ("a.png --json a.txt", "a.txt does not end in .json"),
        ("a.png --csv a.txt", "a.txt does not end in .csv"),
        ("run --run run", "no images in run"),
        ("image.png --run run --output run/recipe.json", "recipe.json"),
        ("image.png --run run --json none/a.json", "none/a.json"),
    ],
)
def test_bad_option_ends_with_one_line(model, arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        detect.main(arguments.split())
    text = caught.value.code
    if not isinstance(text, str):
        assert text == 2
        text = capsys.readouterr().err.splitlines()[-1]
    assert text.startswith("detect: ") and message in text
    assert "\n" not in text


def test_a_detector_of_a_library_is_refused(model, tmp_path):
    recipe = training.CocoRecipe(library="keras_hub")
    (tmp_path / "run/recipe.json").write_text(recipe.to_json())
    with pytest.raises(SystemExit, match="Received: library=keras_hub"):
        run()


def test_every_option_has_a_test():
    args = detect.parse(["image.png"])
    assert set(vars(args)) == OPTIONS
    assert args.min_score == 0.3 and args.output == "runs/detected"
    assert args.json is args.csv is None
    for limit in (0.0, 1.0):
        options = ["image.png", "--min-score", str(limit)]
        assert detect.parse(options).min_score == limit


def test_the_help_says_what_a_least_score_of_0_draws(capsys):
    with pytest.raises(SystemExit):
        detect.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    defaults = inspect.signature(Detector.__init__).parameters
    score = defaults["confidence_threshold"].default
    number = defaults["max_detections"].default
    assert f"a score of {score}, and {number} objects of an image" in text
