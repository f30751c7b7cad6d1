import keras
import numpy as np
import pytest
from small_detectors import make_backbone, make_batch, make_detector

from keras_epsanet.detection import FasterRCNN, MaskRCNN, RetinaNet
from keras_epsanet.detection.anchored import make_anchors

OPTIONS = {"anchor_scales": [4, 6], "anchor_ratios": (0.25, 1, 2, 4)}


@pytest.mark.parametrize("cls", [RetinaNet, FasterRCNN])
def test_anchors_are_arguments_and_are_saved(cls, tmp_path):
    detector = make_detector(cls, **OPTIONS)
    assert detector.anchor_scales == (4.0, 6.0)
    assert detector.anchor_ratios == (0.25, 1.0, 2.0, 4.0)
    boxes = np.concatenate(
        [
            keras.ops.convert_to_numpy(x)
            for x in detector.anchor_generator(64, 96)
        ]
    )
    found = detector(make_batch()["images"])
    name = "class_logits" if cls is RetinaNet else "rpn_logits"
    assert found[name].shape[1] == len(boxes)
    stride = detector.anchor_generator.strides[0]
    width, height = boxes[0, 2:] - boxes[0, :2]
    assert height / width == pytest.approx(0.25)
    assert height * width == pytest.approx((4 * stride) ** 2)
    detector.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.anchor_ratios == detector.anchor_ratios
    assert again.anchor_generator.num_anchors == 8


@pytest.mark.parametrize("cls", [RetinaNet, MaskRCNN])
def test_other_anchors_are_learned_and_predicted(cls):
    detector = make_detector(cls, **OPTIONS)
    detector.compile("sgd", run_eagerly=True)
    logs = detector.train_on_batch(make_batch(), return_dict=True)
    assert np.isfinite(list(map(float, logs.values()))).all()
    found = detector.predict(make_batch()["images"], verbose=0)
    assert np.isfinite(found["boxes"]).all()


@pytest.mark.parametrize("cls", [RetinaNet, FasterRCNN])
@pytest.mark.parametrize("name", ["anchor_scales", "anchor_ratios"])
def test_anchors_are_fixed_when_a_detector_is_made(cls, name):
    detector = make_detector(cls)
    before = getattr(detector, name)
    with pytest.raises(ValueError, match=f"`{name}` is fixed .*argument"):
        setattr(detector, name, (1, 2, 3))
    assert getattr(detector, name) == before


@pytest.mark.parametrize("value", [(), 1, "ab", (0,), (-1, 1), (1, np.inf)])
def test_scales_that_are_none_are_refused(value):
    with pytest.raises(ValueError, match="Received: anchor_scales="):
        RetinaNet(make_backbone(), 3, anchor_scales=value)
    with pytest.raises(ValueError, match="Received: anchor_ratios="):
        make_anchors((4,), (1,), value)


def test_by_default_they_are_mmdetection_s():
    retinanet = make_detector(RetinaNet)
    assert len(retinanet.anchor_scales) == len(retinanet.anchor_ratios) == 3
    assert make_detector(FasterRCNN).anchor_scales == (8.0,)
