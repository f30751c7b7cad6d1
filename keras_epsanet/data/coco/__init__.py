"""COCO's images and annotations, in batches for detectors."""

from keras_epsanet.data.coco.annotations import Annotations
from keras_epsanet.data.coco.augmentation import Augmentation
from keras_epsanet.data.coco.batches import (
    load,
    to_keras_cv,
    to_keras_hub,
    training_images,
)
from keras_epsanet.data.coco.from_tfds import write_from_tfds
from keras_epsanet.data.coco.from_voc import write_from_voc
from keras_epsanet.data.coco.from_yolo import write_from_yolo

__all__ = [
    "Annotations",
    "Augmentation",
    "load",
    "to_keras_cv",
    "to_keras_hub",
    "training_images",
    "write_from_tfds",
    "write_from_voc",
    "write_from_yolo",
]
