import pytest

from keras_epsanet.detection import paper_rows
from keras_epsanet.detection.ap_table import (
    COLUMNS,
    format_class_rows,
    format_table,
    is_coco,
    published_rows,
)
from keras_epsanet.detection.coco_report import ClassRow


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


def test_nothing_found_is_not_nothing_there():
    row = {**dict.fromkeys(COLUMNS, 0.0), "APS": -1.0, "APM": 0.12345}
    lines = format_table({**row, **{f"mask_{k}": 1.0 for k in row}})
    assert lines[0] == "| | AP | AP50 | AP75 | APS | APM | APL |"
    assert lines[1] == "|---|---|---|---|---|---|---|"
    assert lines[2] == "| boxes | 0.0 | 0.0 | 0.0 | – | 12.3 | 0.0 |"
    assert lines[3].startswith("| masks | 100.0 |")


def test_classes_have_a_table_for_each_kind():
    metrics = {k: i / 10 for i, k in enumerate(COLUMNS)}
    masks = {f"mask_{k}": x + 0.01 for k, x in metrics.items()}
    rows = [("a | b", 4, metrics), ("c", 5, {**metrics, **masks})]
    lines = format_class_rows([ClassRow(*row) for row in rows])
    assert [x for x in lines if "---" not in x] == [
        "| boxes of | objects | AP | AP50 | AP75 | APS | APM | APL |",
        "| a \\| b | 4 | 0.0 | 10.0 | 20.0 | 30.0 | 40.0 | 50.0 |",
        "| c | 5 | 0.0 | 10.0 | 20.0 | 30.0 | 40.0 | 50.0 |",
        "| masks of | objects | AP | AP50 | AP75 | APS | APM | APL |",
        "| c | 5 | 1.0 | 11.0 | 21.0 | 31.0 | 41.0 | 51.0 |",
    ]


def test_the_paper_s_rows_are_its_shares():
    assert paper_rows("retinanet", "epsanet50_small") == {
        "paper, boxes": {"AP": 0.382, "AP50": 0.581, "AP75": 0.406}
    }
