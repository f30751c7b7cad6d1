import copy
import csv
import io

import numpy as np
import pytest

from keras_epsanet.detection import evaluate_coco
from keras_epsanet.detection.ap_table import COLUMNS
from keras_epsanet.detection.coco_report import CocoReport

pytest.importorskip("pycocotools")

# Sides of small, medium and large objects.
SIDES = (20, 60, 120)


@pytest.fixture(scope="module")
def truth():
    """Four images with an object of each size, of three classes of four."""
    annotations = [
        {
            "id": 3 * i + j + 1,
            "image_id": i,
            "category_id": (3, 5, 9)[(i + j) % 3],
            "bbox": [10, 150 * j, side, side],
            "area": side**2,
            "iscrowd": 0,
            "segmentation": [
                [10, 150 * j, 10 + side, 150 * j, 10 + side, 150 * j + side]
            ],
        }
        for i in range(4)
        for j, side in enumerate(SIDES)
    ]
    return {
        "images": [{"id": i, "height": 450, "width": 200} for i in range(4)],
        "categories": [
            {"id": i, "name": name}
            for i, name in ((5, "fig"), (3, "pear"), (9, "a | b"), (11, "plum"))
        ],
        "annotations": annotations,
    }


@pytest.fixture(scope="module")
def results(truth):
    """Boxes that are off by some pixels, some of another class."""
    random = np.random.default_rng(0)
    return [
        {
            "image_id": x["image_id"],
            "category_id": 3 if i % 4 == 0 else x["category_id"],
            "bbox": list(np.array(x["bbox"]) + random.uniform(-5, 5, 4)),
            "score": float(random.uniform()),
        }
        for i, x in enumerate(truth["annotations"])
        for _ in range(2)
    ]


def test_classes_are_evaluated_as_if_alone(truth, results):
    report = CocoReport(truth, results)
    assert report.metrics == evaluate_coco(truth, results)
    assert [x.name for x in report.classes] == ["pear", "fig", "a | b", "plum"]
    assert [x.objects for x in report.classes] == [4, 4, 4, 0]
    for row, number in zip(report.classes, (3, 5, 9, 11)):
        alone = {
            **truth,
            "annotations": [
                x for x in truth["annotations"] if x["category_id"] == number
            ],
        }
        own = [x for x in results if x["category_id"] == number]
        assert row.metrics == pytest.approx(evaluate_coco(alone, own))
    assert report.classes[3].metrics["AP"] == -1
    assert len({x.metrics["AP"] for x in report.classes}) == 4


@pytest.mark.parametrize("column", COLUMNS)
def test_the_area_below_a_curve_is_the_average(truth, results, column):
    report = CocoReport(truth, results)
    curve = report.curves("bbox", column)
    assert curve.shape == (101,) and (np.diff(curve) <= 1e-9).all()
    assert curve.mean() == pytest.approx(report.metrics[column])
    assert 0 < report.metrics[column] < 1


def test_sizes_that_no_object_has_have_no_curve(truth):
    small = [x for x in truth["annotations"] if x["area"] == 400]
    report = CocoReport({**truth, "annotations": small}, [])
    assert np.isnan(report.curves("bbox", "APL")).all()
    assert (report.curves("bbox", "APS") == 0).all()
    # Nothing found is 0, nothing there is nothing.
    line = report.to_csv().splitlines()[1]
    assert line == "pear,1,0.0,0.0,0.0,0.0,," or line.endswith(",0.0,,")


def test_tables_have_a_line_for_each_class(truth, results):
    report = CocoReport(truth, results)
    rows = list(csv.reader(io.StringIO(report.to_csv())))
    assert rows[0] == ["class", "objects", *COLUMNS]
    assert rows[1][:2] == ["pear", "4"]
    assert float(rows[1][2]) == report.classes[0].metrics["AP"]
    assert rows[4] == ["plum", "0", *6 * [""]]
    lines = report.class_lines()
    assert lines[0].startswith("| boxes of | objects | AP | AP50 |")
    assert lines[1].count("|") == lines[0].count("|")
    # A name does not divide its line.
    assert lines[4].startswith(r"| a \| b | 4 | ")
    assert lines[-1] == "| plum | 0 | – | – | – | – | – | – |"


def test_crowds_are_no_objects_of_a_class(truth, results):
    truth = copy.deepcopy(truth)
    truth["annotations"][0]["iscrowd"] = 1
    truth["annotations"][0]["segmentation"] = {
        "size": [450, 200],
        "counts": [9000, 400, 80600],
    }
    objects = [x.objects for x in CocoReport(truth, results).classes]
    assert objects == [3, 4, 4, 0]


def test_results_are_left_as_they_are(truth, results):
    names = ("image_id", "category_id", "bbox", "score")
    results = [{name: x[name] for name in names} for x in results]
    before = copy.deepcopy((truth, results))
    CocoReport(truth, results)
    assert (truth, results) == before


@pytest.mark.parametrize("iou_types", [(), ("boxes",), ("bbox", "masks")])
def test_kinds_that_are_none_are_refused(truth, iou_types):
    with pytest.raises(ValueError, match="must be of bbox, segm. Received"):
        CocoReport(truth, [], iou_types)


def test_masks_must_be_known_of_all_objects(truth):
    annotations = [dict(x) for x in truth["annotations"]]
    for annotation in annotations:
        del annotation["segmentation"]
    with pytest.raises(ValueError, match="must have masks"):
        CocoReport({**truth, "annotations": annotations}, [], ("segm",))


def test_the_size_of_a_mask_is_that_of_its_pixels(truth):
    """A triangle that is small, in a box that is of medium size."""
    import pycocotools.mask

    small = [dict(x) for x in truth["annotations"] if x["area"] == 400][:1]
    category = small[0]["category_id"]
    outlines = [small[0]["segmentation"], [[50, 200, 92, 200, 50, 242]]]
    results = [
        {
            "image_id": small[0]["image_id"],
            "category_id": category,
            "score": score,
            "bbox": box,
            "segmentation": pycocotools.mask.merge(
                pycocotools.mask.frPyObjects(outline, 450, 200)
            ),
        }
        for outline, score, box in zip(
            outlines, (0.5, 0.9), ([10, 0, 20, 20], [50, 200, 42, 42])
        )
    ]
    report = CocoReport({**truth, "annotations": small}, results, ("segm",))
    assert report.metrics["mask_APS"] == pytest.approx(0.5)


def test_masks_have_rows_of_their_own(truth):
    import pycocotools.mask

    runs = [
        pycocotools.mask.merge(
            pycocotools.mask.frPyObjects(x["segmentation"], 450, 200)
        )
        for x in truth["annotations"]
    ]
    results = [
        {
            **{k: x[k] for k in ("image_id", "category_id", "bbox")},
            "score": 0.5,
            "segmentation": run,
        }
        for x, run in zip(truth["annotations"], runs)
    ]
    report = CocoReport(truth, results, ("bbox", "segm"))
    assert report.classes[0].metrics["mask_AP"] == pytest.approx(1)
    assert report.curves("segm", "AP").mean() == pytest.approx(1)
    heads = [x for x in report.class_lines() if "objects" in x]
    assert [x.split()[1] for x in heads] == ["boxes", "masks"]
