import copy
import json
import sys

import numpy as np
import pytest

from keras_epsanet.data.coco.contents import complete, load_coco, read_contents
from keras_epsanet.detection import evaluate_coco

pytest.importorskip("pycocotools")


def change(contents, kind, place, **values):
    """Sets values of an entry; `None` takes them away."""
    entry = contents[kind][place]
    entry.update(values)
    for name in [key for key, value in values.items() if value is None]:
        del entry[name]


def find_all(contents):
    """Results that are right, and surer the earlier they come."""
    return [
        {
            "image_id": x["image_id"],
            "category_id": x["category_id"],
            "bbox": x["bbox"],
            "score": 1 - i / 100,
        }
        for i, x in enumerate(contents["annotations"])
    ]


@pytest.mark.parametrize(
    "values",
    [{"area": None}, {"iscrowd": None}, {"id": None}, {"id": 0}],
    ids=["area", "iscrowd", "id", "id 0"],
)
def test_evaluation_has_what_it_needs(coco_contents, values):
    change(coco_contents, "annotations", 0, **values)
    before = copy.deepcopy(coco_contents)
    found = evaluate_coco(coco_contents, find_all(coco_contents))
    assert found["AP"] == pytest.approx(1)
    assert found["APS"] == pytest.approx(1)
    assert coco_contents == before


def test_an_absent_area_is_that_of_the_mask_or_else_of_the_box(coco_contents):
    half = [[10, 6, 30, 6, 30, 24]]
    change(coco_contents, "annotations", 0, area=None, segmentation=half)
    change(coco_contents, "annotations", 1, area=None, segmentation=[])
    change(coco_contents, "annotations", 2, area=None, image_id=7)
    areas = [x["area"] for x in complete(coco_contents)["annotations"]]
    assert areas[0] == pytest.approx(180, abs=12)
    assert areas[1:4] == [360, 360, 250]


@pytest.mark.parametrize(
    "area, expected",
    [(0, 0), (7.5, 7.5), (-1, 360), (float("inf"), 360), ("7", 360)],
)
def test_an_area_that_is_none_is_that_of_the_box(coco_contents, area, expected):
    change(coco_contents, "annotations", 1, area=area, segmentation=[])
    assert complete(coco_contents)["annotations"][1]["area"] == expected


def test_an_image_of_2_to_the_30_pixels_is_the_largest(coco_contents):
    change(coco_contents, "images", 2, width=2**15, height=2**15)
    complete(coco_contents)
    change(coco_contents, "images", 2, width=2**15 + 1)
    with pytest.raises(ValueError, match="image 102 with width=32769"):
        complete(coco_contents)


def test_pycocotools_prints_nothing(coco_contents, capsys):
    load_coco(coco_contents)
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""


def test_files_may_begin_with_a_mark(coco_contents, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(coco_contents), encoding="utf-8-sig")
    assert read_contents(path) == complete(coco_contents)


def test_a_missing_pycocotools_is_named(coco_contents, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(ImportError, match="pip install pycocotools"):
        load_coco(coco_contents)


def test_absent_ids_are_the_next_numbers(coco_contents):
    change(coco_contents, "annotations", 1, id=None)
    change(coco_contents, "annotations", 2, id="text")
    ids = [x["id"] for x in complete(coco_contents)["annotations"]]
    assert ids == [1, 43, 44, 12, 31, 32, 41, 42]


SEGMENTATIONS = {
    "missing": None,
    "empty": [],
    "two points": [[10, 6, 30, 24]],
    "no numbers": [["a", "b", "c", "d", "e", "f"]],
    "not finite": [[10, 6, float("nan"), 6, 30, 24]],
    "far away": [[10, 6, 1e12, 6, 30, 24]],
    "runs of another size": {"size": [60, 40], "counts": [100, 2300]},
    "too few runs": {"size": [40, 60], "counts": [100, 100]},
    "cut off runs": {"size": [40, 60], "counts": "abc"},
    "no runs": {"size": [40, 60]},
}


@pytest.mark.parametrize("name", SEGMENTATIONS)
def test_an_object_without_a_mask_does_not_stop_evaluation(coco_contents, name):
    segmentation = SEGMENTATIONS[name]
    change(coco_contents, "annotations", 0, segmentation=segmentation)
    truth = load_coco(coco_contents)
    # The mask is that of its box.
    mask = truth.annToMask(truth.anns[1])
    expected = np.zeros((40, 60))
    expected[6:24, 10:30] = 1
    np.testing.assert_array_equal(mask, expected)
    results = [
        {
            **{k: x[k] for k in ("image_id", "category_id")},
            "score": 0.5,
            "segmentation": truth.annToRLE(truth.anns[x["id"]]),
        }
        for x in coco_contents["annotations"]
    ]
    found = evaluate_coco(coco_contents, results, ["segm"])
    assert found["mask_AP"] == pytest.approx(1)


@pytest.mark.parametrize("box", [[float("nan"), 6, 20, 18], [1e300, 6, 20, 18]])
def test_a_box_that_is_none_does_not_stop_evaluation(coco_contents, box):
    change(coco_contents, "annotations", 0, segmentation=None, bbox=box)
    truth = load_coco(coco_contents)
    assert not truth.annToMask(truth.anns[1]).any()
    for iou_type in ("bbox", "segm"):
        evaluate_coco(coco_contents, [], [iou_type])


@pytest.mark.parametrize(
    "box, expected",
    [
        ([50, 6, 30, 18], (slice(6, 24), slice(50, 60))),
        ([10, 30, 20, 99], (slice(30, 40), slice(10, 30))),
        ([-9, -9, 99, 99], (slice(0, 40), slice(0, 60))),
    ],
)
def test_the_box_of_a_mask_ends_at_the_border(coco_contents, box, expected):
    """Of an image that is wider than high."""
    values = {"segmentation": None, "bbox": box}
    change(coco_contents, "annotations", 0, **values)
    truth = load_coco(coco_contents)
    mask = np.zeros((40, 60))
    mask[expected] = 1
    np.testing.assert_array_equal(truth.annToMask(truth.anns[1]), mask)


def test_data_without_masks_get_none(coco_contents):
    for place in range(len(coco_contents["annotations"])):
        change(coco_contents, "annotations", place, segmentation=None)
    truth = load_coco(coco_contents)
    assert "segmentation" not in truth.anns[1]


@pytest.mark.parametrize(
    "kind, values, words",
    [
        ("images", {"id": None}, "image .*'1.png'"),
        ("images", {"id": "101"}, "image .*'101'"),
        ("images", {"id": 100}, "image .*'1.png'"),
        ("images", {"width": None}, "image 101 .*width=None"),
        ("images", {"height": None}, "image 101 .*height=None"),
        ("images", {"height": -5}, "image 101 .*height=-5"),
        ("images", {"width": 0}, "image 101 .*width=0"),
        ("images", {"width": float("inf")}, "image 101 .*width=inf"),
        ("images", {"width": float("nan")}, "image 101 .*width=nan"),
        ("categories", {"id": None}, "category .*class 2"),
        ("categories", {"id": 1}, "category .*class 2"),
        ("annotations", {"bbox": None}, "annotation 2 of image 100.*bbox"),
        ("annotations", {"bbox": [1, 2, 3]}, "annotation 2 of image 100"),
        ("annotations", {"bbox": "1234"}, "annotation 2 of image 100"),
        ("annotations", {"bbox": ["1", 2, 3, 4]}, "annotation 2 of image 100"),
        ("annotations", {"image_id": None}, "annotation 2 .*image_id"),
        ("images", {"id": 2**63}, "image .*'1.png'"),
        ("images", {"id": True}, "image .*'1.png'"),
        ("annotations", {"image_id": "100"}, "annotation 2 .*image_id='100'"),
        ("annotations", {"bbox": [True, 2, 3, 4]}, "annotation 2 of image 100"),
        ("annotations", {"bbox": [10**400, 2, 3, 4]}, "annotation 2 of image"),
        ("annotations", {"iscrowd": 2}, "annotation 2 .*iscrowd=2"),
        ("annotations", {"iscrowd": "1"}, "annotation 2 .*iscrowd='1'"),
        ("annotations", {"category_id": 12}, "annotation 2 of image 100.*12"),
        ("annotations", {"category_id": None}, "annotation 2 of image 100"),
        ("annotations", {"id": 1}, "annotation 1 of image 100 and"),
    ],
)
def test_what_cannot_be_known_is_an_error_with_the_ids(
    coco_contents, tmp_path, kind, values, words
):
    change(coco_contents, kind, 1, **values)
    with pytest.raises(ValueError, match=f"Received: {words}"):
        load_coco(coco_contents)
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(coco_contents))
    with pytest.raises(ValueError, match=f"Received: {words}.*{path}"):
        read_contents(path)


@pytest.mark.parametrize("text", ["", "[]", '{"images": []}'])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"Received: .*annotations={path}"):
        read_contents(path)
