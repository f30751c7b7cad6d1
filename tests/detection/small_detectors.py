"""Small detectors and batches, shared by the tests of this folder."""

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANetBackbone
from keras_epsanet.detection import RetinaNet

CLASSES = 3


def make_backbone(**options):
    return EPSANetBackbone(
        (1, 1, 1, 1),
        (16, 16, 16, 16),
        (3, 5, 7, 9),
        (1, 4, 4, 4),
        reduction=4,
        **options,
    )


def make_detector(cls, seed=0, **options):
    keras.utils.set_random_seed(seed)
    backbone = make_backbone(norm_eval=True)
    if cls is not RetinaNet:
        options = {"num_samples": 32, "seed": seed, **options}
    return cls(backbone, CLASSES, **options)


def make_batch(boxes=2, images=2, size=(64, 96), seed=0):
    """Boxes that are filled by their masks; padded by one object."""
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 30, (images, boxes + 1, 2))
    sides = random.uniform(8, 34, (images, boxes + 1, 2))
    corners = np.concatenate((corners, corners + sides), -1)
    labels = random.integers(0, CLASSES, (images, boxes + 1))
    labels[:, boxes:] = -1
    corners[labels < 0] = -1
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    x1, y1, x2, y2 = np.moveaxis(corners, -1, 0)[..., None, None]
    return {
        "images": random.normal(size=(images, *size, 3)).astype("float32"),
        "boxes": corners.astype("float32"),
        "labels": labels.astype("int32"),
        "masks": ((x1 < x) & (x < x2) & (y1 < y) & (y < y2)).astype("uint8"),
    }


def make_resnet():
    """KerasHub's ResNet-50, with stem and first stage frozen."""
    keras_hub = pytest.importorskip("keras_hub")
    backbone = keras_hub.models.ResNetBackbone(
        [64],
        [7],
        [64, 128, 256, 512],
        [3, 4, 6, 3],
        [1, 2, 2, 2],
        "bottleneck_block",
    )
    for layer in backbone.layers:
        if layer.name.startswith(("conv1", "stack0")):
            layer.trainable = False
    return backbone
