"""Detectors of the paper, pictures of what they find, evaluation on COCO."""

from keras_epsanet.detection.anchors import AnchorGenerator
from keras_epsanet.detection.coco_evaluator import (
    CocoEvaluator,
    evaluate_coco,
    paper_rows,
)
from keras_epsanet.detection.drawing import draw, draw_beside
from keras_epsanet.detection.retinanet import RetinaNet

__all__ = [
    "AnchorGenerator",
    "CocoEvaluator",
    "RetinaNet",
    "draw",
    "draw_beside",
    "evaluate_coco",
    "paper_rows",
]
