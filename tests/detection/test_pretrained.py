import os
import pathlib

import keras
import numpy as np
import pytest
from keras import ops
from mmdet_golden import (
    FAMILIES,
    SIZE,
    make_picture,
    make_state,
    read_detections,
)

from keras_epsanet import EPSANetBackbone
from keras_epsanet.data.coco.class_names import COCO_CLASSES
from keras_epsanet.detection import (
    FasterRCNN,
    MaskRCNN,
    RetinaNet,
    paste_masks,
    pretrained,
)
from keras_epsanet.detection.mmdet_files import Checkpoint
from keras_epsanet.detection.mmdet_weights import detector_entries
from keras_epsanet.detection.pictures import prepare
from keras_epsanet.detection.pretrained import make_backbone, read_detector
from keras_epsanet.weights.downloads import cache_folder
from keras_epsanet.weights.public_detectors import PUBLIC_DETECTORS

torch = pytest.importorskip("torch")
CLASSES = dict(zip(FAMILIES, (RetinaNet, FasterRCNN, MaskRCNN)))
LARGE = pytest.mark.large
_NAME = "resnet50_fpn_1x_coco"
META = {
    "CLASSES": COCO_CLASSES,
    "config": "model = dict(backbone=dict(style='pytorch'))",
    "mmdet_version": "2.0.0",
    "epoch": 12,
    "best": np.float64(0.3),
}


def as_published(state, meta=META):
    """What a file holds; it is written in PyTorch's old format."""
    tensors = {name: torch.tensor(array) for name, array in state.items()}
    return {"meta": meta, "state_dict": tensors}


@pytest.fixture
def published(publisher):
    """Function that serves a detector's file under its name."""

    def publish(family, backbone):
        name = f"{family}_{backbone}_fpn_1x_coco"
        content = as_published(make_state(family, backbone))
        return publisher.publish(
            name,
            content,
            PUBLIC_DETECTORS,
            _use_new_zipfile_serialization=False,
        )

    return publish


@pytest.mark.parametrize(
    "family, backbone",
    [
        ("mask_rcnn", "resnet50"),
        ("retinanet", "resnet50"),
        pytest.param("faster_rcnn", "resnet50", marks=LARGE),
        pytest.param("retinanet", "resnext101_32x4d", marks=LARGE),
        pytest.param("faster_rcnn", "resnext101_32x4d", marks=LARGE),
        pytest.param("mask_rcnn", "resnext101_32x4d", marks=LARGE),
    ],
)
def test_it_finds_what_mmdetection_finds(family, backbone, published, capsys):
    published(family, backbone)
    detector = CLASSES[family].from_pretrained(
        f"{backbone}_fpn_1x_coco", image_size=SIZE
    )
    out = capsys.readouterr().out
    assert out.count("as MMDetection measured") == 1
    found = detector.detect(make_picture())
    wanted = read_detections(family, backbone)
    assert len(found["boxes"]) == len(wanted["boxes"]) == 100
    np.testing.assert_array_equal(found["labels"], wanted["labels"])
    np.testing.assert_allclose(found["boxes"], wanted["boxes"], atol=1e-3)
    np.testing.assert_allclose(found["scores"], wanted["scores"], atol=1e-4)
    first = found["class_names"][0]
    assert first == COCO_CLASSES[int(found["labels"][0])]
    if family == "mask_rcnn":
        masks_agree(detector, wanted["masks"])
    if backbone == "resnet50":
        is_as_mmdetection_trains(detector)
        state = make_state(family, backbone)
        for entry in detector_entries(detector):
            np.testing.assert_array_equal(entry.to_torch(), state[entry.key])


def masks_agree(detector, wanted):
    """But for pixels whose probability is one half to four digits."""
    prepared = prepare(make_picture(), SIZE)
    raw = detector.predict(
        {
            "images": prepared.inputs[None],
            "image_size": np.array([prepared.size]),
        },
        verbose=0,
    )
    sure, likely = (
        paste_masks(raw["masks"][0], raw["boxes"][0], *SIZE, half).astype(bool)
        for half in (0.5001, 0.4999)
    )
    assert wanted.any((1, 2)).sum() > 90
    assert not (sure & ~wanted).any() and not (wanted & ~likely).any()
    assert (likely & ~sure).sum() < 1e-3 * wanted.sum()


def is_as_mmdetection_trains(detector):
    assert detector.class_names == COCO_CLASSES
    assert detector.num_classes == 80
    assert getattr(detector, "sampling_ratio", 0) == 0
    # The stem and the first stage are frozen, all statistics are kept.
    backbone = detector.backbone
    assert not backbone.get_layer("conv2_block3_3_conv").trainable
    assert not backbone.get_layer("conv2_block1_1_bn").trainable
    assert backbone.get_layer("conv3_block1_1_conv").trainable
    assert backbone.get_layer("conv3_block1_1_bn").norm_eval


def test_the_conversion_needs_no_pytorch(published, publisher, monkeypatch):
    published("retinanet", "resnet50")
    first = read_detector("retinanet", _NAME)
    assert len(publisher.asked) == 1

    def refuse(*args):
        raise AssertionError("not wanted here")

    monkeypatch.setattr(pretrained, "import_for_files", refuse)
    monkeypatch.setattr(pretrained, "download_detector", refuse)
    second = read_detector("retinanet", f"retinanet_{_NAME}")
    assert first.class_names == second.class_names == COCO_CLASSES
    assert list(first.state) == list(second.state)
    for name, array in first.state.items():
        np.testing.assert_array_equal(array, second.state[name])


def test_without_pytorch_nothing_is_downloaded(publisher, monkeypatch):
    def missing(module, package):
        raise ImportError("pip install torch")

    monkeypatch.setattr(pretrained, "import_for_files", missing)
    with pytest.raises(ImportError, match="pip install"):
        RetinaNet.from_pretrained(_NAME)
    assert not publisher.asked


def cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage, reason",
    [
        (cut, "its hash begins with"),
        (flip, "its hash begins with"),
        (pathlib.Path.unlink, "404"),
    ],
)
def test_a_failed_download_leaves_nothing(
    damage, reason, publisher, monkeypatch
):
    small = as_published({"a": np.zeros(99)})
    name = f"faster_rcnn_{_NAME}"
    damage(publisher.publish(name, small, PUBLIC_DETECTORS))
    with pytest.raises(OSError, match=f"could not be downloaded: .*{reason}"):
        FasterRCNN.from_pretrained(_NAME)
    assert os.listdir(cache_folder()) == []


@pytest.mark.parametrize(
    "cls, name, near",
    [
        (RetinaNet, "resnet50", "retinanet_resnet50_fpn_1x_coco"),
        (MaskRCNN, "resnet101_fpn_2x_coco", "mask_rcnn_resnet101_fpn_1x_coco"),
        (MaskRCNN, f"retinanet_{_NAME}", "use RetinaNet.from_pretrained"),
        (FasterRCNN, None, "faster_rcnn_"),
    ],
)
def test_unknown_names_are_refused(cls, name, near):
    with pytest.raises(ValueError, match=f"{near}.*Received: name={name}$"):
        cls.from_pretrained(name)


def test_a_file_of_other_classes(tmp_path, monkeypatch):
    """A training of one's own, and a detector of other classes."""
    path = tmp_path / "epoch_12.pth"
    state = make_state("retinanet", "resnet50")
    torch.save(as_published(state, {"CLASSES": ["a"] * 80}), path)
    with pytest.warns(UserWarning, match=f"{path} are for 80 classes.*for 2"):
        detector = RetinaNet.from_pretrained(path, class_names=["hat", "bag"])
    assert detector.num_classes == 2
    assert detector.class_names == ("hat", "bag")
    last = detector.get_layer("classification_output")
    assert last.kernel.shape[-1] == 18
    assert np.ptp(ops.convert_to_numpy(last.bias)) == 0  # As it starts.
    box = detector.get_layer("box_output")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(box.bias), state["bbox_head.retina_reg.bias"]
    )


@pytest.mark.parametrize(
    "backbone, kind, variant",
    [
        ("resnet50", "ResNetBackbone", "resnet50"),
        ("resnet101", "ResNetBackbone", "resnet101"),
        ("resnext101_32x4d", "EPSANetBackbone", "epsanet101_large"),
    ],
)
def test_backbones_by_their_weights(backbone, kind, variant, monkeypatch):
    made = []
    for cls in (pretrained.ResNetBackbone, EPSANetBackbone):
        monkeypatch.setattr(
            cls,
            "from_variant",
            lambda name, kind=cls.__name__, **x: made.append((kind, name, x)),
        )
    state = make_state("faster_rcnn", backbone, counters=False)
    make_backbone(Checkpoint(state, None, "it"), norm_eval=True)
    assert made == [(kind, variant, {"norm_eval": True})]


def test_another_backbone_is_refused():
    state = make_state("faster_rcnn", "resnet50", counters=False)
    state = {
        key: array
        for key, array in state.items()
        if "layer3.5" not in key and "layer4" not in key
    }
    with pytest.raises(ValueError, match="Received: it, of a ResNet-38$"):
        make_backbone(Checkpoint(state, None, "it"))


def test_it_trains_and_is_saved(tmp_path):
    path = tmp_path / "model.pth"
    torch.save(as_published(make_state("faster_rcnn", "resnet50")), path)
    with pytest.warns(UserWarning, match="for 80 classes"):
        detector = FasterRCNN.from_pretrained(path, 2, num_samples=8)
    detector.compile(keras.optimizers.SGD(1e-4))
    targets = {
        "boxes": np.array([[[4.0, 4, 40, 40]]], "float32"),
        "labels": np.array([[1]]),
    }
    before = ops.convert_to_numpy(detector.get_layer("rpn_conv").kernel)
    images = np.ones((1, 64, 64, 3), "float32")
    history = detector.fit(images, targets, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    after = ops.convert_to_numpy(detector.get_layer("rpn_conv").kernel)
    assert (before != after).any()
    detector.save(tmp_path / "detector.keras")
    again = keras.saving.load_model(tmp_path / "detector.keras")
    assert again.sampling_ratio == 0
    for old, new in zip(detector.weights, again.weights):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(old), ops.convert_to_numpy(new)
        )
