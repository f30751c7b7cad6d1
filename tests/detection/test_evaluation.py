import contextlib
import copy
import io
import json
import os
import types

import keras
import numpy as np
import pytest

from keras_epsanet.data import coco, scenes
from keras_epsanet.detection import (
    CocoEvaluator,
    evaluate_coco,
    evaluation,
)
from keras_epsanet.detection.ap_table import COLUMNS
from keras_epsanet.detection.detector import Detector
from keras_epsanet.detection.evaluation import to_results

pytest.importorskip("pycocotools")


def make_truth(boxes, size=(200, 300), crowd=(), categories=(3, 9)):
    """Boxes are (image, category, x, y, width, height)."""
    return {
        "images": [
            {"id": i, "height": size[0], "width": size[1]} for i in (1, 2, 5)
        ],
        "categories": [{"id": i, "name": str(i)} for i in categories],
        "annotations": [
            {
                "id": i + 1,
                "image_id": image,
                "category_id": category,
                "bbox": [x, y, w, h],
                "area": w * h,
                "iscrowd": int(i in crowd),
                "segmentation": {
                    "size": list(size),
                    "counts": rectangle(size, x, y, w, h),
                }
                if i in crowd
                else [[x, y, x + w, y, x + w, y + h, x, y + h]],
            }
            for i, (image, category, x, y, w, h) in enumerate(boxes)
        ],
    }


def rectangle(size, x, y, w, h):
    import pycocotools.mask

    mask = np.zeros(size, "uint8", order="F")
    mask[y : y + h, x : x + w] = 1
    return pycocotools.mask.encode(mask)["counts"].decode()


def found(*rows):
    return [
        {
            "image_id": image,
            "category_id": category,
            "bbox": list(box),
            "score": score,
        }
        for image, category, score, *box in rows
    ]


BOXES = [
    (1, 3, 10, 10, 50, 40),
    (1, 3, 60, 60, 20, 20),
    (1, 9, 100, 20, 120, 150),
    (2, 9, 0, 0, 30, 30),
]
CASES = {
    "no predictions": (make_truth(BOXES), []),
    "no ground truth": (make_truth([]), found((1, 3, 0.5, 1, 1, 9, 9))),
    "crowd": (
        make_truth(BOXES, crowd=(3,)),
        found((2, 9, 0.9, 5, 5, 10, 10), (1, 3, 0.8, 10, 10, 50, 38)),
    ),
    "more than 100 detections": (
        make_truth(BOXES),
        found(
            *(
                (1, 3, 1 - i / 500, 10 + i % 7, 10, 50, 40 - i % 11)
                for i in range(150)
            ),
            (1, 3, 0.001, 60, 60, 20, 20),
        ),
    ),
    "ties": (
        make_truth(BOXES),
        found(
            *((1, 3, 0.5, 10 + 3 * i, 10, 50, 40) for i in range(6)),
            *((2, 9, 0.5, i, 0, 30, 30) for i in range(6)),
        ),
    ),
    "empty classes": (
        make_truth(BOXES[:2], categories=(1, 3, 9, 40)),
        found((1, 9, 0.4, 10, 10, 50, 40), (1, 3, 0.3, 10, 10, 52, 40)),
    ),
    "at the border": (
        make_truth([(1, 3, 290, 190, 10, 10), (5, 3, 0, 150, 40, 50)]),
        found((1, 3, 0.9, 285, 188, 15, 12), (5, 3, 0.4, -3, 148, 43, 55)),
    ),
    "an image of width 1": (
        make_truth([(1, 3, 0, 5, 1, 100)], size=(200, 1)),
        found((1, 3, 0.9, 0, 6, 1, 100)),
    ),
}


def plain_pycocotools(folder, truth, results):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "results.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(folder / "truth.json")
        evaluation = COCOeval(
            truth, truth.loadRes(str(folder / "results.json")), "bbox"
        )
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(COLUMNS, evaluation.stats[:6]))


@pytest.mark.parametrize("case", CASES)
def test_equals_pycocotools(case, tmp_path):
    truth, results = CASES[case]
    metrics = evaluate_coco(truth, results)
    if results:
        assert metrics == plain_pycocotools(tmp_path, truth, results)
    else:
        # pycocotools cannot load no results.
        assert metrics["AP"] == metrics["AP50"] == 0
    assert case == "no ground truth" or metrics["AP"] >= 0


def test_results_are_left_as_they_are():
    truth, results = make_truth(BOXES), found((1, 3, 0.8, 10, 10, 50, 38))
    before = copy.deepcopy((truth, results))
    evaluate_coco(truth, results)
    assert (truth, results) == before


def test_overlap_with_a_crowd_is_no_error():
    truth = make_truth([*BOXES[:1], (1, 3, 100, 100, 30, 30)], crowd=(1,))
    right = found((1, 3, 0.5, 10, 10, 50, 40))
    inside = found((1, 3, 0.9, 105, 105, 10, 10))
    metrics = evaluate_coco(truth, right + inside)
    assert metrics["AP"] == pytest.approx(1)
    truth["annotations"][1]["iscrowd"] = 0
    truth["annotations"][1]["segmentation"] = []
    assert evaluate_coco(truth, right + inside)["AP"] < 0.3


def test_images_without_predictions_count():
    truth = make_truth([(i, 3, 10, 10, 50, 40) for i in (1, 2, 5)])
    metrics = evaluate_coco(truth, found((2, 3, 0.9, 10, 10, 50, 40)))
    assert metrics["AP"] == pytest.approx(34 / 101)


def test_masks_are_evaluated_too():
    truth = make_truth(BOXES)
    results = found((1, 3, 0.9, 10, 10, 50, 40), (2, 9, 0.9, 0, 0, 30, 30))
    for result in results:
        result["segmentation"] = {
            "size": [200, 300],
            "counts": rectangle((200, 300), *result["bbox"]),
        }
    metrics = evaluate_coco(truth, results, iou_types=("bbox", "segm"))
    assert metrics["mask_AP"] == pytest.approx(metrics["AP"])
    assert 0 < metrics["AP"] < 1


def test_results_of_other_images_are_refused():
    with pytest.raises(ValueError, match="Received: image_id=7 of 1"):
        evaluate_coco(make_truth(BOXES), found((7, 3, 0.5, 1, 1, 9, 9)))
    with pytest.raises(ValueError, match="Received: iou_types"):
        evaluate_coco(make_truth(BOXES), [], ["boxes"])


def test_masks_that_are_not_there_are_refused():
    truth = make_truth(BOXES)
    for annotation in truth["annotations"]:
        del annotation["segmentation"]
    with pytest.raises(ValueError, match="must have masks .* Received: iou"):
        evaluate_coco(truth, [], iou_types=("bbox", "segm"))
    assert evaluate_coco(truth, [])["AP"] == 0


class Oracle(keras.Model):
    """Predicts the truth, whose batches it gets in order."""

    def __init__(self, dataset, name):
        super().__init__()
        self.batches, self.label = iter(dataset), name

    def predict(self, images, **options):
        batch = next(self.batches)
        labels = np.asarray(batch["labels"])
        return {
            "boxes": np.asarray(batch["boxes"]),
            self.label: labels,
            "confidence": np.where(labels < 0, -1, 0.9),
            "num_detections": (labels >= 0).sum(axis=1),
        }


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="made of tf.data"
)
@pytest.mark.parametrize("label", ["labels", "classes"])
def test_the_truth_has_an_average_precision_of_one(tmp_path, label):
    folder = tmp_path / "scenes"
    scenes.write(folder, 0, 5, image_size=(96, 128))
    annotations = coco.Annotations(
        folder / "annotations/instances_val.json", folder / "val"
    )
    dataset = coco.load(
        annotations, 2, image_size=(160, 400), bounding_box_format="xywh"
    )
    evaluator = CocoEvaluator(
        dataset, annotations, "xywh", path=tmp_path / "results.json"
    )
    evaluator.set_model(Oracle(dataset, label))
    logs = {"loss": 1.0}
    evaluator.on_epoch_end(0, logs)
    assert logs["val_AP"] == pytest.approx(1) and logs["loss"] == 1
    results = json.loads((tmp_path / "results.json").read_text())
    assert evaluate_coco(annotations.path, results)["AP"] == logs["val_AP"]


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="made of tf.data"
)
def test_an_image_that_cannot_be_read_has_objects_that_are_not_found(tmp_path):
    folder = tmp_path / "scenes"
    scenes.write(folder, 0, 4, image_size=(96, 128))
    annotations = coco.Annotations(
        folder / "annotations/instances_val.json", folder / "val"
    )
    dataset = coco.load(annotations, 2, image_size=(96, 128))
    oracle = Oracle(list(dataset), "labels")
    (folder / "val/000000000002.jpg").write_bytes(b"no image")
    evaluator = CocoEvaluator(
        dataset, annotations, path=tmp_path / "results.json", verbose=False
    )
    with pytest.warns(UserWarning, match="skipped"):
        metrics = evaluator.evaluate(oracle)
    results = json.loads((tmp_path / "results.json").read_text())
    assert {result["image_id"] for result in results} == {1, 3, 4}
    # Its objects count.
    assert 0 < metrics["AP"] < 1
    assert annotations.bad == [str(folder / "val/000000000002.jpg")]


@pytest.mark.parametrize("number", [0, 4])
def test_padded_predictions_are_left_out(number):
    batch = {
        "images": np.zeros((1, 64, 64, 3)),
        "image_id": [number],
        "original_size": [[50, 100]],
        "image_size": [[32, 64]],
    }
    predictions = {
        "boxes": [[[0, 0, 32, 16], [-1, -1, -1, -1]]],
        "labels": [[1, -1]],
        "confidence": [[0.5, -1]],
        "num_detections": [1],
    }
    assert to_results(predictions, batch, [3, 9]) == [
        {
            "image_id": number,
            "category_id": 9,
            "bbox": [0, 0, 50, 25],
            "score": 0.5,
        }
    ]


def test_detections_are_those_of_their_images_clipped_to_them():
    """Of images whose height and width have another scale each."""
    batch = {
        "images": np.zeros((2, 64, 96, 3)),
        "image_id": [7, 8],
        "original_size": [[30, 40], [100, 60]],
        "image_size": [[60, 80], [50, 90]],
    }
    predictions = {
        "boxes": [
            [[0, 0, 0.25, 0.5], [0.5, 0.5, 1, 1]],
            [[0, 0, 0.5, 0.25], [-0.5, -0.25, 0.5, 0.75]],
        ],
        "labels": [[1, 0], [0, 1]],
        "confidence": [[0.5, 0.25], [0.75, 0.125]],
        "num_detections": [2, 2],
    }
    # Pixels of the padded images: 64 high and 96 wide.
    found = to_results(predictions, batch, [3, 9], "rel_yxyx")
    assert [(x["image_id"], x["category_id"], x["score"]) for x in found] == [
        (7, 9, 0.5),
        (7, 3, 0.25),
        (8, 3, 0.75),
        (8, 9, 0.125),
    ]
    boxes = [
        [0, 0, 24, 8],
        [24, 16, 16, 14],
        [0, 0, 16, 64],
        [0, 0, 48, 64],
    ]
    np.testing.assert_allclose([x["bbox"] for x in found], boxes, rtol=1e-6)


def test_masks_are_drawn_in_boxes_that_are_not_clipped():
    """Half of the box is outside, and with it half of the mask."""
    mask = pytest.importorskip("pycocotools.mask")
    batch = {
        "images": np.zeros((1, 32, 64, 3)),
        "image_id": [7],
        "original_size": [[32, 64]],
        "image_size": [[32, 64]],
    }
    masks = np.zeros((1, 1, 28, 28))
    masks[..., 14:] = 1
    predictions = {
        "boxes": [[[-20, 4, 20, 28]]],
        "labels": [[0]],
        "confidence": [[0.5]],
        "num_detections": [1],
        "masks": masks,
    }
    (found,) = to_results(predictions, batch, [3])
    drawn = mask.decode(found["segmentation"])
    assert drawn[4:28, :20].all() and drawn.sum() == 24 * 20
    assert found["bbox"] == [0, 4, 20, 24]


@pytest.mark.parametrize("kinds", [("bbox",), ("bbox", "segm")])
def test_the_table_has_the_kinds_and_what_stands_beside(
    kinds, tmp_path, capsys
):
    beside = {"another": {"AP": 0.25}}
    options = {"iou_types": kinds, "beside": beside}
    metrics = make_evaluator(tmp_path, **options).evaluate(Blind())
    assert set(metrics) == {
        prefix + name
        for prefix in ("", "mask_")[: len(kinds)]
        for name in COLUMNS
    }
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("| another | 25.0 |")
    assert len(lines) == 4 + len(kinds)
    silent = make_evaluator(tmp_path, verbose=False)
    silent.set_model(Blind())
    silent.on_epoch_end(0)  # There may be no logs.
    assert capsys.readouterr().out == ""


def test_a_detector_of_this_package_gets_the_sizes(tmp_path, monkeypatch):
    seen = []

    def predict(model, batches):
        (batch,) = batches
        seen.append(set(batch))
        return Blind().predict(batch["images"])

    monkeypatch.setattr(evaluation, "predict", predict)
    image = keras.Input((None, None, 3))
    detector = Detector(keras.Model(image, image), 2, {"x": image})
    make_evaluator(tmp_path, verbose=False).evaluate(detector)
    assert seen == [{"images", "image_size"}]


def test_only_detectors_of_this_package_know_where_images_end(tmp_path):
    seen = []

    class Look(Blind):
        def predict(self, images, **options):
            seen.append(images)
            return super().predict(images, **options)

    evaluator = make_evaluator(tmp_path, verbose=False)
    evaluator.evaluate(Look())
    assert np.shape(seen) == (1, 2, 64, 96, 3)


class Blind(keras.Model):
    """Finds nothing."""

    def predict(self, images, **options):
        number = len(images)
        return {
            "boxes": np.full((number, 5, 4), -1.0),
            "labels": np.full((number, 5), -1),
            "confidence": np.full((number, 5), -1.0),
            "num_detections": np.zeros(number, int),
            "masks": np.zeros((number, 5, 28, 28)),
        }


def make_evaluator(folder, **options):
    """Of two images of arrays, with an object in one of them."""
    truth = make_truth(BOXES[:1])
    truth["images"].pop()
    (folder / "truth.json").write_text(json.dumps(truth))
    batch = {
        "images": np.zeros((2, 64, 96, 3)),
        "image_id": [1, 2],
        "original_size": 2 * [[200, 300]],
        "image_size": 2 * [[64, 96]],
    }
    annotations = types.SimpleNamespace(
        path=folder / "truth.json", category_ids=[3, 9]
    )
    return CocoEvaluator([batch], annotations, **options)


def test_no_detection_is_an_average_precision_of_zero(tmp_path):
    evaluator = make_evaluator(
        tmp_path,
        iou_types=("bbox", "segm"),
        path=tmp_path / "results.json",
        verbose=False,
    )
    metrics = evaluator.evaluate(Blind())
    assert (metrics["AP"], metrics["mask_AP"]) == (0, 0)
    assert (tmp_path / "results.json").read_text() == "[]"


def test_results_take_the_place_of_former_ones_when_they_are_whole(
    tmp_path, monkeypatch
):
    path = tmp_path / "results.json"
    path.write_text("former")
    replace, seen = os.replace, []

    def look(source, target):
        seen.append(target)
        assert path.read_text() == "former"
        assert os.path.dirname(source) == str(tmp_path)
        replace(source, target)

    monkeypatch.setattr(os, "replace", look)
    evaluator = make_evaluator(tmp_path, path=path, verbose=False)
    evaluator.evaluate(Blind())
    assert seen == [path] and path.read_text() == "[]"
    assert sorted(os.listdir(tmp_path)) == ["results.json", "truth.json"]


@pytest.mark.parametrize(
    "every, last, expected",
    [(1, None, [0, 1, 2, 3, 4]), (2, None, [1, 3]), (2, 5, [1, 3, 4])],
)
def test_epochs_between_evaluations_have_no_number(
    tmp_path, monkeypatch, every, last, expected
):
    evaluator = make_evaluator(tmp_path, every=every, last=last)
    monkeypatch.setattr(evaluator, "evaluate", lambda: {"AP": 0.5, "AP50": 1})
    evaluated = []
    for epoch in range(5):
        logs = {"loss": 1}
        evaluator.on_epoch_end(epoch, logs)
        assert logs["loss"] == 1 and "val_AP" in logs
        if logs["val_AP"] == 0.5:
            evaluated.append(epoch)
        else:
            # The columns of the log are there from the first epoch on.
            names = {f"val_{x}" for x in COLUMNS}
            assert names <= set(logs) and np.isnan(logs["val_APL"])
    assert evaluated == expected


def test_the_first_worker_evaluates_what_all_have_found(tmp_path, monkeypatch):
    others = found((1, 3, 0.9, 10, 10, 50, 40))
    last = found((2, 9, 0.2, 1, 1, 5, 5))
    batches = []
    monkeypatch.setattr(evaluation, "worker", lambda strategy: (0, 2))
    monkeypatch.setattr(
        evaluation, "gather_objects", lambda own, strategy: [last + own, others]
    )
    path = tmp_path / "results.json"
    evaluator = make_evaluator(
        tmp_path, path=path, on_batch=lambda: batches.append(1)
    )
    images = [types.SimpleNamespace(id=i) for i in (1, 2)]
    evaluator.annotations.images = images
    assert evaluator.evaluate(Blind())["AP"] == pytest.approx(1)
    # In the order of the images, as of one process.
    assert json.loads(path.read_text()) == others + last and batches == [1]
    # The others log what it has found, and write nothing.
    path.unlink()
    monkeypatch.setattr(
        evaluation, "from_chief", lambda make, strategy: {"AP": 0.25}
    )
    assert evaluator.evaluate(Blind()) == {"AP": 0.25} and not path.exists()
