import pytest

from keras_epsanet.detection import coco_figures
from keras_epsanet.detection.coco_report import CocoReport

pytest.importorskip("pycocotools")
figure = pytest.importorskip("matplotlib.figure")


def test_curves_are_drawn_of_what_there_is(tmp_path, monkeypatch):
    truth = {
        "images": [{"id": 1, "height": 200, "width": 200}],
        "categories": [{"id": 1, "name": "fig"}],
        "annotations": [
            {
                "id": i + 1,
                "image_id": 1,
                "category_id": 1,
                "bbox": [0, 50 * i, 20, 20],
                "area": 400,
                "iscrowd": 0,
            }
            for i in range(2)
        ],
    }
    found = [
        {"image_id": 1, "category_id": 1, "bbox": [0, 0, 20, 20], "score": 1}
    ]
    saved = []
    monkeypatch.setattr(
        figure.Figure,
        "savefig",
        lambda drawn, path, dpi: saved.append((drawn, path)),
    )
    coco_figures.draw_precision_recall(CocoReport(truth, found), "a.png")
    ((drawn, path),) = saved
    assert path == "a.png"
    left, right = drawn.axes
    assert [x.get_label() for x in left.lines] == [
        "IoU 0.5 to 0.95: AP 50.5",
        "IoU 0.5: AP50 50.5",
        "IoU 0.75: AP75 50.5",
    ]
    # There is no medium object and no large one.
    assert [x.get_label() for x in right.lines] == ["small: APS 50.5"]
    recalls, precisions = left.lines[0].get_data()
    assert (precisions.round(6) == (recalls <= 0.5)).all()


def test_a_picture_is_written(tmp_path):
    truth = {"images": [], "categories": [], "annotations": []}
    report = CocoReport(truth, [])
    coco_figures.draw_precision_recall(report, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"
