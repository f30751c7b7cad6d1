"""Detectors of the paper, pictures of what they find, evaluation on COCO."""

from keras_epsanet.detection.roi_align import roi_align
from keras_epsanet.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "anchors": ["AnchorGenerator"],
        "ap_table": ["paper_rows"],
        "drawing": ["draw", "draw_beside"],
        "evaluation": ["CocoEvaluator", "evaluate_coco"],
        "faster_rcnn": ["FasterRCNN"],
        "mask_head": ["encode_masks", "paste_masks"],
        "mask_rcnn": ["MaskRCNN"],
        "mask_targets": ["unfold_masks"],
        "mmdet_weights": ["load_mmdet_weights"],
        "retinanet": ["RetinaNet"],
    },
)
__all__ += ["roi_align"]
