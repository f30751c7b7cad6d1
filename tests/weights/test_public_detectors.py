import pathlib
import re

import pytest

from keras_epsanet.weights import public_detectors
from keras_epsanet.weights.public_detectors import (
    PUBLIC_DETECTORS,
    download_detector,
    family_of,
    full_name,
)
from keras_epsanet.weights.public_files import PUBLIC_FILES

HOST = "https://download.openmmlab.com/mmdetection/v2.0/"


@pytest.mark.parametrize("name", PUBLIC_DETECTORS)
def test_every_file_has_a_source_a_hash_and_terms(name):
    file = PUBLIC_DETECTORS[name]
    family = family_of(name)
    backbone = name.removeprefix(f"{family}_").removesuffix("_fpn_1x_coco")
    short = backbone.replace("resne", "").replace("xt101", "x101")
    short = short if short.startswith("x") else short.replace("t", "r")
    config = f"{family}_{short}_fpn_1x_coco"
    assert file.url.startswith(f"{HOST}{family}/{config}/{config}_2020")
    assert re.fullmatch("[0-9a-f]{8}", file.digest)
    assert file.publisher == "OpenMMLab, MMDetection"
    assert "Apache-2.0" in file.license
    assert ("pretraining is unclear" in file.license) == ("xt" in name)
    assert "COCO" in file.data_set and "ImageNet" in file.data_set
    assert "1906.07155" in file.paper
    has_masks = "AP of masks" in file.reached
    assert has_masks == (family == "mask_rcnn")
    assert file.reached.endswith("as MMDetection measured")
    figures = re.findall(r"AP of \w+ (\d\d\.\d)", file.reached)
    assert len(figures) == 1 + has_masks
    assert all(34 < float(figure) < 43 for figure in figures)


def test_every_file_is_another():
    assert len(PUBLIC_DETECTORS) == 9
    files = list(PUBLIC_DETECTORS.values())
    for field in ("url", "file_name", "digest", "reached"):
        assert len({getattr(file, field) for file in files}) == len(files)
    assert not {x.digest for x in files} & {
        x.digest for x in PUBLIC_FILES.values()
    }


def test_a_name_of_another_kind_says_whose_it_is():
    for name in ("retinanet_resnet50_fpn_1x_coco", "retinanet_resnet5"):
        message = (
            "is not for MaskRCNN: use RetinaNet.from_pretrained. "
            f"Received: name={name}$"
        )
        with pytest.raises(ValueError, match=message):
            full_name("mask_rcnn", name)
    with pytest.raises(ValueError, match="use MaskRCNN.from_pretrained"):
        full_name("faster_rcnn", "mask_rcnn_resnet50_fpn_1x_coco")


@pytest.mark.parametrize(
    "name, family",
    [
        ("retinanet_resnet50_fpn_1x_coco", "retinanet"),
        ("faster_rcnn_resnext101_32x4d_fpn_1x_coco", "faster_rcnn"),
        ("mask_rcnn_resnet50_fpn_3x", "mask_rcnn"),  # Meant as one.
        ("mask_rcnn_resnet50.pth", None),
        ("runs/mask_rcnn_resnet50", None),
        ("resnet50.tv2", None),
        (None, None),
    ],
)
def test_names_tell_the_detector(name, family):
    assert family_of(name) == family


def test_names_are_completed():
    name = "mask_rcnn_resnext101_32x4d_fpn_1x_coco"
    assert full_name("mask_rcnn", name) == name
    assert full_name("mask_rcnn", "resnext101_32x4d_fpn_1x_coco") == name
    with pytest.raises(ValueError, match=f"Similar: {name}.*name=resnext101"):
        full_name("mask_rcnn", "resnext101_32x4d_fpn_2x_coco")


def test_the_docs_list_every_file():
    page = pathlib.Path(__file__).parents[2] / "docs/detection.md"
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in page.read_text().splitlines()
        if line.startswith(("| `retinanet_r", "| `faster_r", "| `mask_r"))
    ]
    assert [row[:2] for row in rows] == [
        [name, file.file_name] for name, file in PUBLIC_DETECTORS.items()
    ]
    for name, _, *figures in rows:
        wanted = re.findall(r"\d+\.\d", PUBLIC_DETECTORS[name].reached)
        assert [x for x in figures if x] == wanted


def test_a_name_is_downloaded(monkeypatch):
    calls = []
    monkeypatch.setattr(public_detectors, "fetch", lambda *x: calls.append(x))
    download_detector("retinanet_resnet50_fpn_1x_coco", timeout=3)
    file = PUBLIC_DETECTORS["retinanet_resnet50_fpn_1x_coco"]
    assert calls == [(file, 3)] and file.digest == "c2398f9e"
