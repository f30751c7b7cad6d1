"""Detectors learn eight scenes by heart, from random weights."""

import keras
import pytest

from keras_epsanet import EPSANetBackbone
from keras_epsanet.data import coco, scenes
from keras_epsanet.detection import (
    CocoEvaluator,
    FasterRCNN,
    MaskRCNN,
    RetinaNet,
)
from keras_epsanet.training import EpochSchedule

# Of these scenes every object fits an anchor: the networks can learn all.
SIZE, SEED = 192, 6
BATCH_SIZE = 2


@pytest.mark.large
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.data feeds it"
)
@pytest.mark.parametrize(
    "cls, rate, steps",
    [(RetinaNet, 5e-4, 600), (FasterRCNN, 1e-3, 400), (MaskRCNN, 1e-3, 400)],
)
def test_eight_scenes_are_learnt_by_heart(cls, rate, steps, tmp_path):
    pytest.importorskip("pycocotools")
    keras.utils.set_random_seed(0)
    scenes.write(tmp_path / "scenes", 8, 0, image_size=SIZE, seed=SEED)
    annotations = coco.Annotations(
        tmp_path / "scenes/annotations/instances_train.json",
        tmp_path / "scenes/train",
    )
    options = {"image_size": (SIZE, SIZE), "masks": cls is MaskRCNN}
    backbone = EPSANetBackbone(
        (1, 1, 1, 1), (64, 128, 256, 512), (3, 5, 7, 9), (1, 4, 8, 16)
    )
    samples = {} if cls is RetinaNet else {"num_samples": 64}
    model = cls(backbone, 10, **samples)
    schedule = EpochSchedule(
        rate, steps, epochs=1, kind="cosine", warm_up_epochs=0.05
    )
    model.compile(keras.optimizers.Adam(schedule, global_clipnorm=10.0))
    model.fit(
        coco.load(annotations, BATCH_SIZE, training=True, **options),
        steps_per_epoch=steps,
        verbose=2,
    )
    iou_types = ("bbox", "segm") if cls is MaskRCNN else ("bbox",)
    found = CocoEvaluator(
        coco.load(annotations, 8, **options), annotations, iou_types=iou_types
    ).evaluate(model)
    assert found["AP50"] >= 0.9
    assert found.get("mask_AP50", 1) >= 0.8
