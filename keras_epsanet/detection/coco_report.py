"""All that COCO's rules say of results: averages, classes, sizes, curves."""

import contextlib
import copy
import csv
import io
from typing import NamedTuple

import numpy as np

from keras_epsanet.data.coco.annotations import load_coco
from keras_epsanet.detection.ap_table import COLUMNS, format_class_rows

PREFIXES = {"bbox": "", "segm": "mask_"}
# Where pycocotools keeps them: all IoUs or one, and all areas or those of a
# size.
_PLACES = {
    "AP": (slice(None), 0),
    "AP50": (slice(0, 1), 0),
    "AP75": (slice(5, 6), 0),
    "APS": (slice(None), 1),
    "APM": (slice(None), 2),
    "APL": (slice(None), 3),
}
_MOST = -1  # The last number of detections an image, 100.


class ClassRow(NamedTuple):
    """What was reached in one class.

    Attributes:
        name: String.
        objects: Integer, objects without crowds.
        metrics: Dictionary as that of `evaluate_coco`.
    """

    name: str
    objects: int
    metrics: dict


class CocoReport:
    """Evaluates results by COCO's rules, on all images of the annotations.

    Args:
        annotations, results, iou_types: As in `evaluate_coco`.

    Attributes:
        metrics: Dictionary that `evaluate_coco` returns.
        classes: List of `ClassRow`, in the order of the categories' ids.
        iou_types: Tuple of strings.

    Raises:
        ImportError, ValueError: As of `evaluate_coco`.
    """

    def __init__(self, annotations, results, iou_types=("bbox",)):
        truth = _open_truth(annotations, results, iou_types)
        self.iou_types = tuple(iou_types)
        self.metrics, self._precision = {}, {}
        for iou_type in iou_types:
            evaluation = _run(truth, results, iou_type)
            for name, value in zip(COLUMNS, evaluation.stats):
                self.metrics[PREFIXES[iou_type] + name] = float(value)
            # IoUs, recalls from 0 to 1, classes, areas, numbers of detections.
            self._precision[iou_type] = evaluation.eval["precision"]
        self.classes = self._rows(truth)

    def curves(self, iou_type, column):
        """The mean precision of the classes at each recall.

        Args:
            iou_type: `"bbox"` or `"segm"`.
            column: `"AP"`, `"AP50"`, `"AP75"`, `"APS"`, `"APM"` or `"APL"`,
                the mean of what is returned.

        Returns:
            Float array `(101,)`, for the recalls 0, 0.01 to 1; NaN if no
            object is of this size.
        """
        ious, area = _PLACES[column]
        values = self._precision[iou_type][ious, :, :, area, _MOST]
        values = np.where(values > -1, values, np.nan)
        if np.isnan(values).all():
            return np.full(values.shape[1], np.nan)
        return np.nanmean(values, axis=(0, 2))

    def to_csv(self):
        """Returns the classes as a table, a line for each."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        names = list(self.metrics)
        writer.writerow(["class", "objects", *names])
        for row in self.classes:
            values = (row.metrics[name] for name in names)
            writer.writerow(
                [row.name, row.objects, *("" if x < 0 else x for x in values)]
            )
        return text.getvalue()

    def class_lines(self):
        """Lines of the classes as a table in Markdown, in percent."""
        return format_class_rows(self.classes)

    def _rows(self, truth):
        rows = []
        for place, number in enumerate(sorted(truth.cats)):
            metrics = {}
            for iou_type, precision in self._precision.items():
                for name, (ious, area) in _PLACES.items():
                    values = precision[ious, :, place, area, _MOST]
                    values = values[values > -1]
                    value = float(values.mean()) if values.size else -1.0
                    metrics[PREFIXES[iou_type] + name] = value
            objects = len(truth.getAnnIds(catIds=[number], iscrowd=False))
            rows.append(ClassRow(truth.cats[number]["name"], objects, metrics))
        return rows


def metric_names(iou_types):
    """Lists the names of the averages that `evaluate_coco` returns.

    Args:
        iou_types: As in `evaluate_coco`.

    Example:

    >>> metric_names(["segm"])[:2]
    ['mask_AP', 'mask_AP50']
    """
    return [PREFIXES[kind] + name for kind in iou_types for name in COLUMNS]


def _open_truth(annotations, results, iou_types):
    unknown = set(iou_types) - set(PREFIXES)
    if unknown or not iou_types:
        raise ValueError(
            f"`iou_types` must be of {', '.join(PREFIXES)}. "
            f"Received: iou_types={iou_types}"
        )
    truth = load_coco(annotations)
    strange = {result["image_id"] for result in results} - set(truth.imgs)
    if strange:
        raise ValueError(
            "`results` must belong to images of the annotations. "
            f"Received: image_id={min(strange)} of {len(strange)} others"
        )
    if "segm" in iou_types and not masks_are_known(truth):
        raise ValueError(
            "`annotations` must have masks for them to be evaluated. "
            f"Received: iou_types={iou_types}, no `segmentation` that can be "
            "drawn"
        )
    return truth


def masks_are_known(truth):
    """Whether masks can be evaluated.

    Args:
        truth: What `load_coco` returned.
    """
    return all("segmentation" in x for x in truth.anns.values())


def _run(truth, results, iou_type):
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(
            truth, _load_results(truth, results, iou_type), iou_type
        )
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _load_results(truth, results, iou_type):
    if iou_type == "segm":
        # With a box it would be the box whose area counts.
        results = [
            {name: value for name, value in result.items() if name != "bbox"}
            for result in results
        ]
    if results:
        # pycocotools writes into what it is given.
        return truth.loadRes(copy.deepcopy(results))
    return load_coco({**truth.dataset, "annotations": []})
