import pytest

from keras_epsanet.detection import paper_rows
from keras_epsanet.detection.ap_table import (
    COLUMNS,
    format_table,
    is_coco,
    published_rows,
)


def test_the_papers_rows_stand_below_the_result():
    row = dict.fromkeys(COLUMNS, 0.5)
    lines = format_table(row, paper_rows("mask_rcnn", "epsanet50_large"))
    assert lines[2] == "| boxes | 50.0 | 50.0 | 50.0 | 50.0 | 50.0 | 50.0 |"
    assert lines[3:] == [
        "| paper, boxes | 41.4 | 62.3 | 45.3 | – | – | – |",
        "| paper, masks | 37.1 | 59.0 | 39.5 | – | – | – |",
    ]


def test_a_detector_that_the_paper_lacks_is_refused():
    with pytest.raises(ValueError, match="Received: detector=yolo"):
        paper_rows("yolo", "epsanet50_small")


COCO = ["person", *map(str, range(1, 79)), "toothbrush"]


@pytest.mark.parametrize(
    "names, expected",
    [
        (COCO, True),
        (COCO[:79], False),
        (COCO[1:] + COCO[:1], False),
        ([*COCO, "bag"], False),
        (["person"], False),
        ([], False),
    ],
)
def test_coco_is_told_by_its_classes(names, expected):
    assert is_coco(names) is expected


def test_publishers_rows_stand_beside_coco_alone():
    rows = published_rows(
        "mask_rcnn", COCO, "mask_rcnn_resnext101_32x4d_fpn_1x_coco"
    )
    assert rows["MMDetection, boxes"] == {"AP": 0.419}
    assert rows["MMDetection, masks"] == {"AP": 0.375}
    assert rows["paper, epsanet50_large, masks"]["AP"] == 0.371
    assert len(published_rows("mask_rcnn", COCO, "a.keras")) == 4
    assert published_rows("mask_rcnn", ["person"]) == {}
