"""Detectors of the paper, and the evaluation on COCO."""

from keras_epsanet.detection.anchors import AnchorGenerator
from keras_epsanet.detection.retinanet import RetinaNet

__all__ = ["AnchorGenerator", "RetinaNet"]
