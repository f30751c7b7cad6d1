import types

import numpy as np
import pytest

from keras_epsanet.detection import coco_figures
from keras_epsanet.detection.coco_report import CocoReport

pytest.importorskip("pycocotools")
figure = pytest.importorskip("matplotlib.figure")


def draw(report, monkeypatch):
    """The axes of the picture."""
    saved = []
    monkeypatch.setattr(
        figure.Figure,
        "savefig",
        lambda drawn, path, dpi: saved.append((drawn, path)),
    )
    coco_figures.draw_precision_recall(report, "a.png")
    ((drawn, path),) = saved
    assert path == "a.png"
    return drawn.axes


def test_masks_are_below_the_boxes(monkeypatch):
    """Each with its own averages and curves, those of 0 included."""
    names = ("AP", "AP50", "AP75", "APS", "APM", "APL")
    averages = {name: i / 10 for i, name in enumerate(names)}
    masks = {f"mask_{name}": x + 0.01 for name, x in averages.items()}
    report = types.SimpleNamespace(
        iou_types=("bbox", "segm"),
        metrics={**averages, **masks, "APL": -1},
        curves=lambda kind, name: np.full(
            101, averages[name] + (kind == "segm") / 100
        ),
    )
    axes = draw(report, monkeypatch)
    assert [x.get_title() for x in axes] == [
        "boxes, all sizes",
        "boxes, IoU 0.5 to 0.95",
        "masks, all sizes",
        "masks, IoU 0.5 to 0.95",
    ]
    labels = [[x.get_label() for x in part.lines] for part in axes]
    assert labels[1] == ["small: APS 30.0", "medium: APM 40.0"]
    assert labels[2] == [
        "IoU 0.5 to 0.95: AP 1.0",
        "IoU 0.5: AP50 11.0",
        "IoU 0.75: AP75 21.0",
    ]
    assert labels[0][0].endswith("AP 0.0") and len(labels[3]) == 3
    heights = [[x.get_ydata()[0] for x in part.lines] for part in axes]
    np.testing.assert_allclose(heights[0], [0, 0.1, 0.2])
    np.testing.assert_allclose(heights[3], [0.31, 0.41, 0.51])
    for part in axes:
        assert part.get_xlim() == (0, 1) and part.get_ylim() == (0, 1.02)


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
    left, right = draw(CocoReport(truth, found), monkeypatch)
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
