"""The weights of `detection_torchvision.py` under torchvision's names."""

import json
import pathlib

import keras
import numpy as np
import pytest

pytest.importorskip("torch")
if keras.backend.backend() != "tensorflow":
    pytest.skip("detectors are timed on TensorFlow", allow_module_level=True)

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
HEAD = "roi_heads.box_predictor"


def read(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


@pytest.fixture
def state():
    """The state dict of MMDetection's Mask R-CNN, small random integers."""
    shapes = read("mmdet_shapes")
    shapes = {
        **{
            f"backbone.{k}": x
            for k, x in shapes["backbones"]["resnet50"].items()
        },
        **shapes["heads"]["mask_rcnn"],
    }
    random = np.random.default_rng(0)
    return {
        key: random.integers(1, 9, shape).astype("float32")
        for key, shape in shapes.items()
        if not key.endswith("num_batches_tracked")
    }


def test_names_and_shapes_are_those_of_torchvision(script, state):
    found = script("detection_torchvision").to_torchvision(state)
    wanted = {
        f"backbone.body.{key}": shape
        for key, shape in read("resnet_shapes")["resnet50"].items()
        if not key.startswith("fc.") and "num_batches_tracked" not in key
    }
    wanted |= read("torchvision_mask_rcnn_shapes")
    assert {key: list(x.shape) for key, x in found.items()} == wanted


def test_the_background_is_the_first_class(script, state):
    """It is MMDetection's last one, and has no box and no mask there."""
    found = {
        key: x.numpy()
        for key, x in script("detection_torchvision")
        .to_torchvision(state)
        .items()
    }
    for kind in ("weight", "bias"):
        scores = found[f"{HEAD}.cls_score.{kind}"]
        wanted = state[f"roi_head.bbox_head.fc_cls.{kind}"]
        np.testing.assert_array_equal(scores[0], wanted[-1])
        np.testing.assert_array_equal(scores[1:], wanted[:-1])
        for name, ours, rows in (
            (f"{HEAD}.bbox_pred", "bbox_head.fc_reg", 4),
            (
                "roi_heads.mask_predictor.mask_fcn_logits",
                "mask_head.conv_logits",
                1,
            ),
        ):
            array = found[f"{name}.{kind}"]
            assert not array[:rows].any()
            np.testing.assert_array_equal(
                array[rows:], state[f"roi_head.{ours}.{kind}"]
            )


def test_all_other_weights_stay_as_they_are(script, state):
    found = script("detection_torchvision").to_torchvision(state)
    for ours, theirs in (
        ("backbone.layer3.5.bn2.running_var",) * 2,
        (
            "neck.lateral_convs.2.conv.weight",
            "backbone.fpn.inner_blocks.2.0.weight",
        ),
        ("neck.fpn_convs.3.conv.bias", "backbone.fpn.layer_blocks.3.0.bias"),
        ("rpn_head.rpn_conv.weight", "rpn.head.conv.0.0.weight"),
        ("rpn_head.rpn_cls.weight", "rpn.head.cls_logits.weight"),
        ("rpn_head.rpn_reg.weight", "rpn.head.bbox_pred.weight"),
        (
            "roi_head.bbox_head.shared_fcs.0.weight",
            "roi_heads.box_head.fc6.weight",
        ),
        (
            "roi_head.bbox_head.shared_fcs.1.weight",
            "roi_heads.box_head.fc7.weight",
        ),
        (
            "roi_head.mask_head.convs.1.conv.weight",
            "roi_heads.mask_head.1.0.weight",
        ),
        (
            "roi_head.mask_head.upsample.weight",
            "roi_heads.mask_predictor.conv5_mask.weight",
        ),
    ):
        if ours == theirs:
            theirs = theirs.replace("backbone.", "backbone.body.")
        np.testing.assert_array_equal(found[theirs].numpy(), state[ours])
