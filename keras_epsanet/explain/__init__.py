"""Why a network says what it says: maps, attention by scale, mistakes."""

from keras_epsanet.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "attention_figures": ["draw_attention"],
        "attention_weights": ["attention"],
        "class_maps": ["grad_cam"],
        "map_figures": [
            "draw_beside",
            "draw_detections",
            "draw_maps",
            "draw_pixel_maps",
            "draw_scale_maps",
        ],
        "mistakes": ["errors"],
        "picture_maps": ["detection_cam"],
        "result_figures": [
            "draw_ablation",
            "draw_calibration",
            "draw_confusion",
            "draw_mistakes",
        ],
        "scale_switches": ["scale_ablation"],
    },
)
