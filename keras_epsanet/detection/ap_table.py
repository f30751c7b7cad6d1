"""Average precisions as a table, beside those of the paper."""

from keras_epsanet.paper import TABLE_3, TABLE_4
from keras_epsanet.weights.public_detectors import (
    family_of,
    full_name,
    published_ap,
)

# The first six of the twelve numbers that pycocotools prints.
COLUMNS = ("AP", "AP50", "AP75", "APS", "APM", "APL")
# First and last of COCO's 80 classes.
_COCO_ENDS = ("person", "toothbrush")


def is_coco(class_names):
    """Whether these are COCO's 80 classes, for which the paper has figures."""
    ends = tuple(class_names[::79])
    return len(class_names) == 80 and ends == _COCO_ENDS


def paper_rows(detector, backbone):
    """What tables 3 and 4 of the paper report for COCO val2017.

    Args:
        detector: `"retinanet"`, `"faster_rcnn"` or `"mask_rcnn"`.
        backbone: `"epsanet50_small"` or `"epsanet50_large"`.

    Returns:
        Dictionary from names of rows to dictionaries of `"AP"`, `"AP50"` and
        `"AP75"`, floats from 0 to 1, for `format_table`.

    Raises:
        ValueError: If the paper has no such detector or backbone.

    Example:

    >>> paper_rows("retinanet", "epsanet50_small")["paper, boxes"]["AP"]
    0.382
    """
    if backbone not in TABLE_3.get(detector, {}):
        raise ValueError(
            f"`detector` must be one of {', '.join(TABLE_3)} and `backbone` "
            f"one of {', '.join(TABLE_3['retinanet'])}. "
            f"Received: detector={detector}, backbone={backbone}"
        )
    rows = {"paper, boxes": TABLE_3[detector][backbone]}
    if detector == "mask_rcnn":
        rows["paper, masks"] = TABLE_4[backbone]
    return {
        name: {
            "AP": round(row.ap / 100, 3),
            "AP50": round(row.ap50 / 100, 3),
            "AP75": round(row.ap75 / 100, 3),
        }
        for name, row in rows.items()
    }


def published_rows(detector, class_names, source=None):
    """What others reached on COCO with a kind of detector.

    Args:
        detector: `"retinanet"`, `"faster_rcnn"` or `"mask_rcnn"`.
        class_names: Strings, the classes of the data.
        source: Name of the public detector that was evaluated, or `None`.

    Returns:
        Dictionary as of `paper_rows`, the publisher's rows first; empty for
        other data than COCO's.

    Example:

    >>> from keras_epsanet.data.coco.class_names import COCO_CLASSES
    >>> list(published_rows("retinanet", COCO_CLASSES))
    ['paper, epsanet50_small, boxes', 'paper, epsanet50_large, boxes']
    """
    if not is_coco(class_names):
        return {}
    rows = {}
    if family_of(source) is not None:
        for kind, ap in published_ap(full_name(detector, source)).items():
            rows[f"MMDetection, {kind}"] = {"AP": ap}
    for backbone in TABLE_3[detector]:
        for name, row in paper_rows(detector, backbone).items():
            kind = name.removeprefix("paper, ")
            rows[f"paper, {backbone}, {kind}"] = row
    return rows


def format_table(metrics, rows=None):
    """Lines of a table in Markdown, in percent as in the paper.

    Args:
        metrics: Dictionary that `evaluate_coco` returned.
        rows: Optional dictionary of further such dictionaries by name, such
            as `paper_rows` returns.

    Returns:
        List of strings.
    """
    lines = _head("")
    named = {
        name: {column: metrics[prefix + column] for column in COLUMNS}
        for name, prefix in (("boxes", ""), ("masks", "mask_"))
        if prefix + "AP" in metrics
    }
    for name, row in {**named, **(rows or {})}.items():
        lines.append(f"| {name} | {_values(row)} |")
    return lines


def format_class_rows(rows):
    """Lines of a table in Markdown of what was reached in each class.

    Args:
        rows: List of `ClassRow`.

    Returns:
        List of strings: the boxes, and below them the masks if there are any.
    """
    lines = []
    for kind, prefix in (("boxes", ""), ("masks", "mask_")):
        known = [x for x in rows if prefix + "AP" in x.metrics]
        if not known:
            continue
        lines += _head(f"{kind} of | objects")
        for name, objects, metrics in known:
            row = {column: metrics[prefix + column] for column in COLUMNS}
            name = name.replace("|", "\\|")
            lines.append(f"| {name} | {objects} | {_values(row)} |")
    return lines


def _head(first):
    line = " | ".join([f"| {first}" if first else "|", *COLUMNS]) + " |"
    return [line, "|---" * (line.count("|") - 1) + "|"]


def _values(row):
    # -1 is COCO's for a size that no object has.
    return " | ".join(
        "–" if row.get(column, -1) < 0 else f"{100 * row[column]:.1f}"
        for column in COLUMNS
    )
