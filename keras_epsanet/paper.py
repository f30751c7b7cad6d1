"""The figures that the paper publishes, in its tables 2 to 5.

Millions of parameters, billions of FLOPs, percents. Other networks than the
paper's own are here where this package builds them.
"""

from typing import NamedTuple


class Classifier(NamedTuple):
    """Row of table 2: ImageNet, 224×224."""

    parameters: float
    flops: float
    top1: float
    top5: float


class Detection(NamedTuple):
    """Row of table 3, COCO's val2017; FLOPs at 1280×800.

    The average precisions are those of the boxes.
    """

    parameters: float
    flops: float
    ap: float
    ap50: float
    ap75: float


class Masks(NamedTuple):
    """Row of table 4, the masks of Mask R-CNN."""

    ap: float
    ap50: float
    ap75: float


TABLE_2 = {
    "epsanet50_small": Classifier(22.56, 3.62, 77.49, 93.54),
    "epsanet50_large": Classifier(27.90, 4.72, 78.64, 94.18),
    "epsanet101_small": Classifier(38.90, 6.82, 78.43, 94.11),
    "epsanet101_large": Classifier(49.59, 8.97, 79.38, 94.58),
}
TABLE_3 = {
    "retinanet": {
        "epsanet50_small": Detection(34.78, 229.32, 38.2, 58.1, 40.6),
        "epsanet50_large": Detection(40.07, 251.89, 39.6, 59.4, 42.3),
    },
    "faster_rcnn": {
        "epsanet50_small": Detection(38.56, 197.07, 39.2, 60.3, 42.3),
        "epsanet50_large": Detection(43.85, 219.64, 40.9, 62.1, 44.6),
    },
    "mask_rcnn": {
        "epsanet50_small": Detection(41.20, 248.53, 40.0, 60.9, 43.3),
        "epsanet50_large": Detection(46.50, 271.10, 41.4, 62.3, 45.3),
    },
}
TABLE_4 = {
    "epsanet50_small": Masks(35.9, 57.7, 38.1),
    "epsanet50_large": Masks(37.1, 59.0, 39.5),
}
# Groups of the four branches that are compared, in an EPSANet-50.
TABLE_5 = ((4, 8, 16, 16), (16, 16, 16, 16), (1, 4, 8, 16))
