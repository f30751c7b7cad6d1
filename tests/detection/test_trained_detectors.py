import argparse
import json
import warnings
import zipfile

import keras
import numpy as np
import pytest
import small_detectors
from mmdet_golden import FAMILIES, make_state
from small_detectors import make_backbone

from keras_epsanet import EPSANetBackbone
from keras_epsanet.detection import (
    FasterRCNN,
    MaskRCNN,
    RetinaNet,
    trained_detectors,
)
from keras_epsanet.detection.mmdet_weights import load_checkpoint
from keras_epsanet.detection.trained_detectors import (
    Description,
    changes_of,
    describe,
    load_trained,
    read_trained,
)
from keras_epsanet.models.resnet_backbone import ResNetBackbone

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
        assert describe(name) == (family, model, 0)


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
    assert describe(path) == (family, model, 0)


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
    unknown = Description("retinanet", None, sampling_ratio=2)
    found = changes_of(unknown, argparse.Namespace(model="resnet101"))
    assert found == {"sampling_ratio": 2, "detector": "retinanet"}


def test_detectors_of_other_libraries_do_not_start_from_one():
    given = argparse.Namespace(library="keras_hub")
    with pytest.raises(ValueError, match="Received: --library keras_hub$"):
        changes_of(Description("retinanet", "resnet50"), given)


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


@pytest.mark.parametrize(
    "cls, backbone, wanted",
    [
        (
            FasterRCNN,
            EPSANetBackbone.from_variant,
            ("faster_rcnn", "epsanet50_small", 2),
        ),
        (
            RetinaNet,
            ResNetBackbone.from_variant,
            ("retinanet", "resnet50", 0),
        ),
    ],
)
def test_files_of_this_package_are_described(cls, backbone, wanted, tmp_path):
    path = tmp_path / "model.keras"
    cls(backbone(wanted[1]), 2).save(path)
    assert describe(str(path)) == wanted


def test_a_backbone_without_a_name_is_refused(tmp_path):
    path = tmp_path / "model.keras"
    MaskRCNN(make_backbone(), 2).save(path)
    with pytest.raises(ValueError, match="names.*epsanet50_small.*Received"):
        describe(str(path))


class OwnRetinaNet(RetinaNet):
    """As a user may have it."""


@keras.saving.register_keras_serializable("mine")
class OwnFasterRCNN(FasterRCNN):
    """The same, which Keras finds."""


def test_a_detector_of_a_class_of_ones_own_is_not_described(tmp_path):
    path = str(tmp_path / "model.keras")
    for cls, name in (
        (OwnRetinaNet, "OwnRetinaNet"),
        (OwnFasterRCNN, "mine>OwnFasterRCNN"),
    ):
        small_detectors.make_detector(cls).save(path)
        message = f"RetinaNet, FasterRCNN and MaskRCNN alone.*a {name}$"
        with pytest.raises(ValueError, match=message):
            describe(path)


def test_a_detector_of_a_class_that_keras_knows_is_loaded(tmp_path):
    path = str(tmp_path / "model.keras")
    small_detectors.make_detector(OwnFasterRCNN).save(path)
    assert isinstance(load_trained(path), OwnFasterRCNN)
    small_detectors.make_detector(OwnRetinaNet).save(path)
    message = "in Python, where this class is.*model.keras, a OwnRetinaNet$"
    with pytest.raises(ValueError, match=message):
        load_trained(path)
    with keras.saving.custom_object_scope({"OwnRetinaNet": OwnRetinaNet}):
        assert isinstance(load_trained(path), OwnRetinaNet)


def test_a_model_of_another_class_is_no_detector(tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as file:
        # As those of other libraries.
        config = {"backbone": {}, "num_classes": 2, "preprocessor": None}
        content = {"registered_name": "other>Model", "config": config}
        file.writestr("config.json", json.dumps(content))
    assert describe(str(path)) is None


def test_a_file_that_cannot_be_opened_is_no_classifier(monkeypatch):
    def refuse(path):
        raise PermissionError("not yours")

    monkeypatch.setattr(trained_detectors.storage, "local_file", refuse)
    with pytest.raises(PermissionError, match="not yours"):
        describe("model.keras")


def test_a_detector_of_another_kind_is_refused(tmp_path):
    path = str(tmp_path / "model.keras")
    small_detectors.make_detector(FasterRCNN).save(path)
    with pytest.raises(ValueError, match="retinanet.*faster_rcnn"):
        read_trained("retinanet", path)


@pytest.mark.parametrize("content", ["", None, "[]", "{}"])
def test_damaged_files_are_no_detectors(content, tmp_path):
    path = tmp_path / "model.keras"
    if content == "":
        path.touch()
    else:
        with zipfile.ZipFile(path, "w") as file:
            if content is not None:
                file.writestr("config.json", content)
    assert describe(str(path)) is None


def test_all_but_the_layers_of_classes_is_read(tmp_path):
    trained = small_detectors.make_detector(FasterRCNN, seed=1)
    path = str(tmp_path / "model.keras")
    trained.save(path)
    keras.utils.set_random_seed(2)
    detector = FasterRCNN(make_backbone(), 5)
    before = {layer.name: layer.get_weights() for layer in layers_of(detector)}
    with pytest.warns(UserWarning, match="3 classes.*for 5: everything else"):
        load_checkpoint(detector, read_trained("faster_rcnn", path))
    after = {layer.name: layer.get_weights() for layer in layers_of(detector)}
    learned = {layer.name: layer.get_weights() for layer in layers_of(trained)}
    assert before.keys() == learned.keys() >= {"conv1_conv", "box_fc1"}
    for name, arrays in after.items():
        last = name in ("class_logits", "box_deltas")
        wanted = (before if last else learned)[name]
        assert all(map(np.array_equal, arrays, wanted)), name


def test_as_many_classes_of_other_names_are_named(tmp_path):
    trained = small_detectors.make_detector(RetinaNet)
    trained.class_names = ["cup", "pen", "hat"]
    path = str(tmp_path / "model.keras")
    trained.save(path)
    detector = small_detectors.make_detector(RetinaNet, seed=1)
    detector.class_names = ["bag", "shoe", "hat"]
    with pytest.warns(UserWarning, match="kept.*cup, pen, hat.*bag, shoe, hat"):
        load_checkpoint(detector, read_trained("retinanet", path))
    assert list(detector.class_names) == ["bag", "shoe", "hat"]
    detector.class_names = trained.class_names
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        load_checkpoint(detector, read_trained("retinanet", path))


def layers_of(detector):
    """All layers with weights of their own."""
    return [
        layer
        for layer in detector._flatten_layers()
        if layer.weights and not list(layer._flatten_layers())[1:]
    ]
