"""The figures that the paper publishes, in its tables 2 to 5.

Millions of parameters, billions of FLOPs, percents. Other networks than the
paper's own are here where this package builds them: `ResNet50` and `ResNet101`
with the attention that a row names.
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


class Size(NamedTuple):
    """Parameters and FLOPs of a network that the paper compares with."""

    parameters: float
    flops: float


TABLE_2 = {
    "epsanet50_small": Classifier(22.56, 3.62, 77.49, 93.54),
    "epsanet50_large": Classifier(27.90, 4.72, 78.64, 94.18),
    "epsanet101_small": Classifier(38.90, 6.82, 78.43, 94.11),
    "epsanet101_large": Classifier(49.59, 8.97, 79.38, 94.58),
}
# By depth and attention.
TABLE_2_COMPARED = {
    ("resnet50", None): Size(25.56, 4.12),
    ("resnet50", "se"): Size(28.07, 4.13),
    ("resnet50", "cbam"): Size(28.07, 4.14),
    ("resnet50", "a2"): Size(33.00, 6.50),
    ("resnet50", "abn"): Size(43.59, 7.18),
    ("resnet50", "gc"): Size(28.11, 4.13),
    ("resnet50", "triplet"): Size(25.56, 4.17),
    ("resnet50", "aa"): Size(25.80, 4.15),
    ("resnet50", "eca"): Size(25.56, 4.13),
    ("resnet50", "fca"): Size(28.07, 4.13),
    ("resnet101", None): Size(44.55, 7.85),
    ("resnet101", "se"): Size(49.29, 7.86),
    ("resnet101", "bam"): Size(44.91, 7.93),
    ("resnet101", "cbam"): Size(49.33, 7.88),
    ("resnet101", "srm"): Size(44.68, 7.95),
    ("resnet101", "triplet"): Size(44.56, 7.95),
    ("resnet101", "eca"): Size(44.55, 7.86),
    ("resnet101", "aa"): Size(45.40, 8.05),
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
# By detector and attention of a ResNet-50.
TABLE_3_COMPARED = {
    ("retinanet", None): Size(37.74, 239.32),
    ("retinanet", "se"): Size(40.25, 239.43),
    ("retinanet", "sa"): Size(37.74, 239.60),
    ("faster_rcnn", None): Size(41.53, 207.07),
    ("faster_rcnn", "se"): Size(44.02, 207.18),
    ("faster_rcnn", "eca"): Size(41.53, 207.18),
    ("faster_rcnn", "sa"): Size(41.53, 207.35),
    ("faster_rcnn", "fca"): Size(44.02, 215.63),
    ("mask_rcnn", None): Size(44.18, 275.58),
    ("mask_rcnn", "se"): Size(46.67, 275.69),
    ("mask_rcnn", "eca"): Size(44.18, 275.69),
    ("mask_rcnn", "sa"): Size(44.18, 275.86),
    ("mask_rcnn", "fca"): Size(46.66, 261.93),
    ("mask_rcnn", "non_local"): Size(46.50, 288.70),
    ("mask_rcnn", "gc"): Size(46.90, 279.60),
}
TABLE_4 = {
    "epsanet50_small": Masks(35.9, 57.7, 38.1),
    "epsanet50_large": Masks(37.1, 59.0, 39.5),
}
# Groups of the four branches that are compared, in an EPSANet-50.
TABLE_5 = ((4, 8, 16, 16), (16, 16, 16, 16), (1, 4, 8, 16))
