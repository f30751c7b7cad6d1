"""Pictures of an evaluation by COCO's rules."""

import numpy as np

from keras_epsanet.detection.ap_table import COLUMNS
from keras_epsanet.detection.coco_report import PREFIXES

_KINDS = {"bbox": "boxes", "segm": "masks"}
_LABELS = {
    "AP": "IoU 0.5 to 0.95",
    "AP50": "IoU 0.5",
    "AP75": "IoU 0.75",
    "APS": "small",
    "APM": "medium",
    "APL": "large",
}


def draw_precision_recall(report, path):
    """Saves a picture of the precision at each recall.

    At the left there are the IoUs, at the right the sizes of the objects, by
    the mean over the classes; the masks are below the boxes. The areas below
    the curves are the average precisions.

    Args:
        report: `CocoReport`.
        path: Path of the picture; its ending names the format (`.png`,
            `.pdf`).

    Raises:
        ImportError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Pictures need matplotlib: pip install matplotlib"
        ) from error
    rows = len(report.iou_types)
    figure = Figure(figsize=(9, 4 * rows), layout="constrained")
    grid = figure.subplots(rows, 2, squeeze=False, sharex=True, sharey=True)
    recalls = np.linspace(0, 1, 101)
    for row, iou_type in zip(grid, report.iou_types):
        kind = _KINDS[iou_type]
        for axes, columns, title in (
            (row[0], COLUMNS[:3], f"{kind}, all sizes"),
            (row[1], COLUMNS[3:], f"{kind}, IoU 0.5 to 0.95"),
        ):
            for column in columns:
                value = report.metrics[PREFIXES[iou_type] + column]
                if value < 0:
                    continue  # No object is of this size.
                axes.plot(
                    recalls,
                    report.curves(iou_type, column),
                    label=f"{_LABELS[column]}: {column} {100 * value:.1f}",
                )
            axes.set(title=title, xlim=(0, 1), ylim=(0, 1.02))
            axes.grid(alpha=0.3)
            if axes.lines:
                axes.legend(loc="lower left", fontsize=8)
        row[0].set_ylabel("precision")
    for axes in grid[-1]:
        axes.set_xlabel("recall")
    figure.savefig(path, dpi=120)
