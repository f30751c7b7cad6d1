import argparse

import keras
import numpy as np
import pytest
from mmdet_golden import FAMILIES, make_state
from small_detectors import make_backbone

from keras_epsanet.detection import (
    FasterRCNN,
    MaskRCNN,
    RetinaNet,
    trained_detectors,
)
from keras_epsanet.detection.trained_detectors import (
    Description,
    changes_of,
    describe,
    load_trained,
)

torch = pytest.importorskip("torch")


def write(path, state, **content):
    tensors = {name: torch.tensor(array) for name, array in state.items()}
    torch.save({"state_dict": tensors, **content}, path)
    return str(path)


@pytest.mark.parametrize("family", FAMILIES)
def test_names_are_described(family):
    for backbone, model in (
        ("resnet50", "resnet50"),
        ("resnet101", "resnet101"),
        ("resnext101_32x4d", "epsanet101_large"),
    ):
        name = f"{family}_{backbone}_fpn_1x_coco"
        assert describe(name) == (family, model)


@pytest.mark.parametrize(
    "family, backbone, model",
    [
        ("retinanet", "resnet50", "resnet50"),
        ("faster_rcnn", "resnet101", "resnet101"),
        ("mask_rcnn", "resnext101_32x4d", "epsanet101_large"),
        ("mask_rcnn", "resnet50_gc", None),
    ],
)
def test_files_are_described_by_their_entries(
    family, backbone, model, tmp_path
):
    path = write(tmp_path / "model.pth", make_state(family, backbone))
    assert describe(path) == (family, model)


def test_other_files_are_no_detectors(tmp_path):
    state = {"conv1.weight": np.zeros((64, 3, 7, 7), "float32")}
    assert describe(write(tmp_path / "resnet50.pth", state)) is None
    assert describe("runs/classifier/model.keras") is None
    with pytest.raises(ValueError, match="Similar: .*name=mask_rcnn_resnet5"):
        describe("mask_rcnn_resnet5")


@pytest.mark.parametrize(
    "given, changes",
    [
        ({}, {"detector": "faster_rcnn", "model": "resnet50"}),
        ({"model": "resnet50"}, {"detector": "faster_rcnn"}),
    ],
)
def test_a_recipe_follows_the_detector(given, changes):
    trained = Description("faster_rcnn", "resnet50")
    found = changes_of(trained, argparse.Namespace(**given))
    assert found["sampling_ratio"] == 0
    assert changes.items() <= found.items()
    unknown = Description("retinanet", None)
    found = changes_of(unknown, argparse.Namespace(model="resnet101"))
    assert found == {"sampling_ratio": 0, "detector": "retinanet"}


@pytest.mark.parametrize(
    "field, value", [("detector", "retinanet"), ("model", "epsanet50_small")]
)
def test_another_detector_than_that_of_the_weights_is_refused(field, value):
    given = argparse.Namespace(**{field: value})
    message = f"{field}=.*Received: --{field} {value}$"
    with pytest.raises(ValueError, match=message):
        changes_of(Description("faster_rcnn", "resnet50"), given)


@pytest.mark.parametrize(
    "family, cls",
    list(zip(FAMILIES, (RetinaNet, FasterRCNN, MaskRCNN))),
)
def test_the_class_is_that_of_the_name(family, cls, monkeypatch):
    name = f"{family}_resnet50_fpn_1x_coco"
    made = argparse.Namespace(class_names=None, num_classes=2)

    def from_pretrained(cls, source):
        made.cls, made.source = cls, source
        return made

    monkeypatch.setattr(cls, "from_pretrained", classmethod(from_pretrained))
    found = load_trained(name)
    assert (found.cls, found.source) == (cls, name)
    # Pictures and results need names.
    assert found.class_names == ["class 0", "class 1"]


def test_what_is_no_detector_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Received: model.h5$"):
        load_trained("model.h5")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="Received: .*model.keras$"):
        load_trained(str(tmp_path / "model.keras"))
    with pytest.raises(ValueError, match="none.keras"):
        load_trained("none.keras")
    assert set(trained_detectors.DETECTORS) == set(FAMILIES)


def test_a_file_of_this_package_is_loaded(tmp_path):
    detector = RetinaNet(make_backbone(), 2)
    detector.save(tmp_path / "model.keras")
    found = load_trained(str(tmp_path / "model.keras"))
    assert isinstance(found, RetinaNet)
    assert found.class_names == ("class 0", "class 1")
