import json
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from small_detectors import make_detector

from keras_epsanet import distribution
from keras_epsanet.data import coco, scenes
from keras_epsanet.detection import RetinaNet, evaluation_folder
from keras_epsanet.detection.evaluation_folder import evaluate_images

pytest.importorskip("pycocotools")
if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)

NUMBER = 7


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "coco"
    scenes.write(folder, 0, NUMBER, image_size=64)
    return folder


@pytest.fixture
def annotations(data):
    file = data / "annotations/instances_val.json"
    return coco.Annotations(file, data / "val")


@pytest.fixture(scope="module")
def detector():
    """Finds something everywhere."""
    options = {"confidence_threshold": 0.0, "max_detections": 3}
    return make_detector(RetinaNet, image_size=(64, 64), **options)


@pytest.fixture(autouse=True)
def predicted(monkeypatch):
    """Numbers of images that were predicted, two in a part.

    What is found is a function of the pixels, without a network.
    """
    monkeypatch.setattr(evaluation_folder, "IMAGES_A_PART", 2)
    numbers = []

    def predict(model, batches):
        (batch,) = batches
        number = len(batch["images"])
        numbers.append(number)
        sums = np.asarray(batch["images"]).mean((1, 2, 3))
        return {
            "boxes": np.tile([[[1.0, 2, 30, 40]]], (number, 3, 1)),
            "labels": np.tile(np.arange(3), (number, 1)),
            "confidence": np.outer(sums, (3, 2, 1)),
            "num_detections": np.full(number, 3),
        }

    monkeypatch.setattr(evaluation_folder, "predict", predict)
    return numbers


def evaluate(detector, annotations, folder, stop_at=None, batch_size=1):
    done = []

    def on_images(number):
        done.append(number)
        if number == stop_at:
            raise KeyboardInterrupt

    try:
        return done, *evaluate_images(
            detector, annotations, batch_size, folder, on_images
        )
    except KeyboardInterrupt:
        return done, None, None


def test_every_image_is_evaluated_once(
    detector, annotations, tmp_path, monkeypatch
):
    monkeypatch.setattr(evaluation_folder, "predict", distribution.predict)
    done, results, bad = evaluate(detector, annotations, tmp_path / "a")
    assert done == list(range(NUMBER + 1)) and bad == []
    found = [x["image_id"] for x in results]
    ids = [image.id for image in annotations.images]
    assert found == [number for number in ids for _ in range(3)]


def test_an_interrupted_evaluation_goes_on(
    detector, annotations, tmp_path, predicted
):
    _, whole, _ = evaluate(detector, annotations, tmp_path / "whole")
    predicted.clear()
    evaluate(detector, annotations, tmp_path / "a", stop_at=5)
    assert len(predicted) == 5
    predicted.clear()
    # Two whole parts of two images were kept.
    done, results, _ = evaluate(detector, annotations, tmp_path / "a")
    assert done == [4, 5, 6, 7] and len(predicted) == NUMBER - 4
    assert results == whole
    predicted.clear()
    done, results, _ = evaluate(detector, annotations, tmp_path / "a")
    assert done == [NUMBER] and predicted == [] and results == whole


def test_larger_batches_go_on_too(detector, annotations, tmp_path, predicted):
    _, whole, _ = evaluate(
        detector, annotations, tmp_path / "whole", batch_size=3
    )
    predicted.clear()
    folder = tmp_path / "a"
    evaluate(detector, annotations, folder, stop_at=6, batch_size=3)
    done, results, _ = evaluate(detector, annotations, folder, batch_size=3)
    # The part is saved before its images count as done.
    assert done == [6, 7] and predicted == [3, 3, 1]
    assert results == whole


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.weights[0].assign(x.weights[0] + 1e-3),
        lambda x: setattr(x, "iou_threshold", 0.4),
        lambda x: setattr(x, "image_size", (32, 64)),
    ],
    ids=["weights", "iou_threshold", "image_size"],
)
def test_what_others_found_is_kept_apart(
    detector, annotations, tmp_path, predicted, change
):
    _, first, _ = evaluate(detector, annotations, tmp_path)
    kept = detector.get_weights(), detector.iou_threshold, detector.image_size
    change(detector)
    predicted.clear()
    evaluate(detector, annotations, tmp_path)
    assert len(predicted) == NUMBER
    assert len(list((tmp_path / "parts").iterdir())) == 2
    predicted.clear()
    # As it was before.
    detector.set_weights(kept[0])
    detector.iou_threshold, detector.image_size = kept[1:]
    _, results, _ = evaluate(detector, annotations, tmp_path)
    assert predicted == [] and results == first


def test_all_that_decides_is_described(detector, annotations, monkeypatch):
    found = evaluation_folder.describe(detector, annotations, 3)
    config = {
        "anchor_scales",
        "anchor_ratios",
        "num_classes",
        "bounding_box_format",
        "confidence_threshold",
        "iou_threshold",
        "max_detections",
        "image_size",
        "class_names",
        "focal_alpha",
        "focal_gamma",
    }
    assert set(found) - config == {
        "hash",
        "detector",
        "weights",
        "precision",
        "annotations",
        "images",
        "batch_size",
    }
    assert config <= set(found)
    assert (found["detector"], found["precision"]) == ("RetinaNet", "float32")
    assert found["batch_size"] == 3 and found["max_detections"] == 3
    again = evaluation_folder.describe(detector, annotations, 3)
    other = evaluation_folder.describe(detector, annotations, 4)
    assert found == again and other["hash"] != found["hash"]


def test_settings_are_left_and_half_files_removed(
    detector, annotations, tmp_path
):
    evaluate(detector, annotations, tmp_path)
    (parts,) = (tmp_path / "parts").iterdir()
    settings = json.loads((parts / "settings.json").read_text())
    assert settings == evaluation_folder.describe(detector, annotations, 1)
    assert settings["hash"].startswith(parts.name) and len(parts.name) == 16
    names = {f"{i:08d}.json" for i in (0, 2, 4, 6)}
    assert {x.name for x in parts.iterdir()} == {*names, "settings.json"}


def test_files_are_written_as_a_whole(
    detector, annotations, tmp_path, monkeypatch
):
    """By the function that renames them when they are whole."""
    written, cleaned = [], []
    monkeypatch.setattr(
        evaluation_folder,
        "write_file",
        lambda path, text: written.append(path.rpartition("/")[2]),
    )
    monkeypatch.setattr(evaluation_folder, "remove_unfinished", cleaned.append)
    evaluate(detector, annotations, tmp_path)
    numbers = [f"{i:08d}.json" for i in (0, 2, 4, 6)]
    assert written == ["settings.json", *numbers]
    ((parts,),) = [list((tmp_path / "parts").iterdir())]
    assert cleaned == [str(parts)] and not list(parts.iterdir())


def test_parts_have_64_images(monkeypatch):
    monkeypatch.undo()
    assert evaluation_folder.IMAGES_A_PART == 64


@pytest.mark.parametrize("image_size", [(64, 64), (32, 64)])
def test_boxes_have_the_format_and_the_size_of_the_detector(
    detector, annotations, tmp_path, monkeypatch, image_size
):
    """Predicted as (x, y, width, height)."""
    shapes = []
    predict = evaluation_folder.predict

    def look(model, batches):
        shapes.append(batches[0]["images"].shape)
        return predict(model, batches)

    monkeypatch.setattr(evaluation_folder, "predict", look)
    kept = detector.bounding_box_format, detector.image_size
    detector.bounding_box_format, detector.image_size = "xywh", image_size
    _, results, _ = evaluate(detector, annotations, tmp_path)
    detector.bounding_box_format, detector.image_size = kept
    assert set(shapes) == {(1, image_size[0], image_size[0], 3)}
    scale = 64 / image_size[0]
    expected = np.minimum(scale * np.array([1, 2, 30, 40]), (64, 64, 62, 60))
    np.testing.assert_allclose(results[0]["bbox"], expected, rtol=1e-5)


def test_other_annotations_are_kept_apart(detector, data, tmp_path, predicted):
    file = data / "annotations/instances_val.json"
    contents = json.loads(file.read_text())
    del contents["annotations"][0]
    other = tmp_path / "other.json"
    other.write_text(json.dumps(contents))
    for path in (file, other):
        annotations = coco.Annotations(path, data / "val")
        evaluate(detector, annotations, tmp_path)
    assert len(predicted) == 2 * NUMBER


@pytest.mark.parametrize("text", ["", '{"results": [', "[]"])
def test_a_damaged_part_is_computed_again(
    detector, annotations, tmp_path, predicted, text
):
    _, whole, _ = evaluate(detector, annotations, tmp_path)
    (part,) = tmp_path.rglob("00000002.json")
    part.write_text(text)
    predicted.clear()
    done, results, _ = evaluate(detector, annotations, tmp_path)
    assert done[0] == 2 and len(predicted) == NUMBER - 2 and results == whole


def test_bad_images_are_named_when_it_goes_on_too(
    detector, data, annotations, tmp_path
):
    folder = tmp_path / "coco"
    shutil.copytree(data, folder)
    name = annotations.images[1].path.rpartition("/")[2]
    (folder / "val" / name).write_text("no image")

    def open_again():
        file = folder / "annotations/instances_val.json"
        return coco.Annotations(file, folder / "val")

    with pytest.warns(UserWarning, match="An image is skipped"):
        _, results, bad = evaluate(detector, open_again(), tmp_path / "a")
    assert bad == [str(folder / "val" / name)]
    assert len(results) == 3 * (NUMBER - 1)
    _, results, bad = evaluate(detector, open_again(), tmp_path / "a")
    assert bad == [str(folder / "val" / name)]
    assert len(results) == 3 * (NUMBER - 1)


def test_on_several_devices_every_image_is_evaluated_once(data, tmp_path):
    script = pathlib.Path(__file__).with_name("evaluate_on_devices.py")
    subprocess.run([sys.executable, script, data, tmp_path], check=True)
    found = json.loads((tmp_path / "found.json").read_text())
    # Of seven images two devices have one left.
    assert len(found["one"]) == 3 * NUMBER
    for one, two in zip(found["one"], found["two"], strict=True):
        assert one["image_id"] == two["image_id"]
        assert one["bbox"] == pytest.approx(two["bbox"], abs=1e-2)
        assert one["score"] == pytest.approx(two["score"], abs=1e-5)
