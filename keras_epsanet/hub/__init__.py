"""Trained networks for others: KerasHub's tasks, timm's files, model cards."""

from keras_epsanet.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "backbones": ["backbone_like"],
        "cards": ["model_card"],
        "class_names": ["read_class_names", "write_class_names"],
        "published": ["save_preset"],
        "tasks": ["image_classifier", "image_converter"],
        "timm_configs": ["read_timm_config"],
        "timm_folders": ["load_timm", "save_timm"],
    },
)
