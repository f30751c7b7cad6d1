"""COCO's images and annotations, in batches for detectors."""

from keras_epsanet.data.coco.annotations import Annotations
from keras_epsanet.data.coco.batches import (
    load,
    to_keras_cv,
    to_keras_hub,
    training_images,
)
from keras_epsanet.data.coco.from_tfds import write_from_tfds

__all__ = [
    "Annotations",
    "load",
    "to_keras_cv",
    "to_keras_hub",
    "training_images",
    "write_from_tfds",
]
