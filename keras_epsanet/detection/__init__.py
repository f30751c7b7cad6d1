"""Detectors of the paper, pictures of what they find, evaluation on COCO."""

from keras_epsanet.detection.anchors import AnchorGenerator
from keras_epsanet.detection.ap_table import paper_rows
from keras_epsanet.detection.coco_evaluator import (
    CocoEvaluator,
    evaluate_coco,
)
from keras_epsanet.detection.drawing import draw, draw_beside
from keras_epsanet.detection.faster_rcnn import FasterRCNN
from keras_epsanet.detection.mask_head import encode_masks, paste_masks
from keras_epsanet.detection.mask_rcnn import MaskRCNN
from keras_epsanet.detection.mask_targets import unfold_masks
from keras_epsanet.detection.mmdet_weights import load_mmdet_weights
from keras_epsanet.detection.retinanet import RetinaNet
from keras_epsanet.detection.roi_align import roi_align

__all__ = [
    "AnchorGenerator",
    "CocoEvaluator",
    "FasterRCNN",
    "MaskRCNN",
    "RetinaNet",
    "draw",
    "draw_beside",
    "encode_masks",
    "evaluate_coco",
    "load_mmdet_weights",
    "paper_rows",
    "paste_masks",
    "roi_align",
    "unfold_masks",
]
