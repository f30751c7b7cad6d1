import json

import numpy as np
import pytest

from keras_epsanet.data.coco.class_names import COCO_CLASSES
from keras_epsanet.detection.findings import Findings


def found(*labels, **more):
    number = len(labels)
    return {
        "boxes": np.tile([1.0, 2.0, 5.0, 10.0], (number, 1)),
        "labels": np.array(labels, "int32"),
        "scores": np.full(number, 0.5, "float32"),
        **more,
    }


def test_coco_s_classes_have_coco_s_numbers():
    findings = Findings(COCO_CLASSES)
    findings.add("a.jpg", (20, 30), found(0, 79))
    contents = json.loads(findings.to_json())
    numbers = [x["category_id"] for x in contents["annotations"]]
    assert numbers == [1, 90]
    names = {x["id"]: x["name"] for x in contents["categories"]}
    assert names[90] == "toothbrush" and len(names) == 80


def test_objects_belong_to_their_images():
    findings = Findings(["fig", "pear"])
    findings.add("a, b.jpg", (20, 30), found(1))
    findings.add("ü.jpg", (40, 60), found())
    findings.add("c.jpg", (40, 60), found(0, 1))
    assert len(findings) == 3
    assert list(findings.counts().items()) == [("pear", 2), ("fig", 1)]
    contents = json.loads(findings.to_json())
    assert [x["image_id"] for x in contents["annotations"]] == [1, 3, 3]
    assert [x["id"] for x in contents["annotations"]] == [1, 2, 3]
    assert contents["images"][1] == {
        "id": 2,
        "file_name": "ü.jpg",
        "width": 60,
        "height": 40,
    }
    lines = findings.to_csv().splitlines()
    assert lines[1] == '"a, b.jpg",pear,0.5,1.0,2.0,5.0,10.0'
    assert len(lines) == 4


def test_an_object_is_an_annotation_with_a_score():
    findings = Findings(["fig", "pear"])
    findings.add("a.jpg", (20, 30), {**found(0), "scores": np.array([0.625])})
    contents = json.loads(findings.to_json())
    assert contents["annotations"] == [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "bbox": [1, 2, 4, 8],
            "area": 32,
            "iscrowd": 0,
            "score": 0.625,
        }
    ]
    assert contents["categories"] == [
        {"id": 1, "name": "fig"},
        {"id": 2, "name": "pear"},
    ]


def test_the_most_frequent_class_is_counted_first():
    findings = Findings(["fig", "pear", "plum"])
    findings.add("a.jpg", (20, 30), found(0, 2, 1, 2, 2, 1))
    assert list(findings.counts().items()) == [
        ("plum", 3),
        ("pear", 2),
        ("fig", 1),
    ]


def test_the_area_is_that_of_the_mask():
    pytest.importorskip("pycocotools")
    findings = Findings(["fig"])
    import pycocotools.mask

    masks = np.zeros((2, 20, 30), bool)
    masks[0, 4:6, 2:5] = masks[1, 3:10, 20:] = True
    findings.add("a.jpg", (20, 30), found(0, 0, masks=masks))
    entries = json.loads(findings.to_json())["annotations"]
    assert [entry["area"] for entry in entries] == [6, 70]
    for entry, mask in zip(entries, masks):
        assert entry["segmentation"]["size"] == [20, 30]
        drawn = pycocotools.mask.decode(entry["segmentation"])
        np.testing.assert_array_equal(drawn, mask)


def test_frames_of_a_video_are_numbered():
    findings = Findings(["fig", "pear"])
    findings.add("a.jpg", (20, 30), found(0))
    assert findings.to_csv().startswith("file,class,score,x1")
    findings.add("b.mp4", (20, 30), found(), frame=0)
    findings.add("b.mp4", (20, 30), found(1), frame=1)
    assert findings.num_images == 3
    images = json.loads(findings.to_json())["images"]
    assert [x.get("frame") for x in images] == [None, 0, 1]
    rows = [line.split(",")[:3] for line in findings.to_csv().splitlines()]
    assert rows == [
        ["file", "frame", "class"],
        ["a.jpg", "", "fig"],
        ["b.mp4", "1", "pear"],
    ]
