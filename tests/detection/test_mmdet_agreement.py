"""What MMDetection's own functions return, from the preprocessing on."""

import numpy as np
import pytest
from keras import ops
from mmdet_golden import GOLDEN

from keras_epsanet.data.coco.transforms import resized_size
from keras_epsanet.detection import boxes as box_ops
from keras_epsanet.detection.anchors import AnchorGenerator
from keras_epsanet.detection.mask_head import paste_masks
from keras_epsanet.detection.nms import non_max_suppression
from keras_epsanet.detection.pictures import prepare, resize
from keras_epsanet.detection.region_proposal import ANCHORS
from keras_epsanet.detection.retinanet import LEVELS, RATIOS, SCALES
from keras_epsanet.detection.roi_align import roi_align


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "mmdet_functions.npz") as file:
        return dict(file)


def test_sizes_after_resizing(golden):
    found = [resized_size(x, (800, 1333)) for x in golden["sizes/before"]]
    np.testing.assert_array_equal(found, golden["sizes/after"])


def test_pictures_are_resized(golden):
    """By OpenCV, of floats, and of bytes with coarser weights, rounded."""
    before = golden["resized/before"]
    found = resize(before, golden["resized/float"].shape[:2])
    np.testing.assert_allclose(found, golden["resized/float"], atol=1e-3)
    assert np.abs(found - golden["resized/after"]).max() < 1


def test_pictures_are_normalized_then_padded_with_zeros():
    """As in `data_preprocessor` of the configurations."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3))
    prepared = prepare(pixels, (40, 50))
    inputs = ops.convert_to_numpy(prepared.inputs)
    wanted = (pixels - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
    assert inputs.shape == (64, 64, 3)
    np.testing.assert_allclose(inputs[:40, :50], wanted, atol=1e-5)
    assert not inputs[40:].any() and not inputs[:, 50:].any()


def test_anchors(golden):
    retinanet = AnchorGenerator([2**x for x in LEVELS], SCALES, RATIOS)
    for name, generator in (("retinanet", retinanet), ("rpn", ANCHORS)):
        found = np.concatenate(
            [ops.convert_to_numpy(x) for x in generator(64, 96)]
        )
        np.testing.assert_allclose(found, golden[f"anchors/{name}"], atol=1e-4)


@pytest.mark.parametrize("ratio", [0, 2])
def test_roi_align(golden, ratio):
    rois = golden["roi_align/rois"]
    found = roi_align(
        golden["roi_align/features"],
        rois[:, 1:],
        rois[:, 0].astype("int32"),
        7,
        1 / 8,
        ratio,
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(found), golden[f"roi_align/{ratio}"], atol=1e-4
    )


def test_boxes_are_decoded_clamped_and_clipped(golden):
    anchors, deltas = golden["decode/anchors"], golden["decode/deltas"]
    found = box_ops.decode(anchors, deltas)
    np.testing.assert_allclose(
        ops.convert_to_numpy(found), golden["decode/unclipped"], rtol=1e-4
    )
    found = box_ops.decode(anchors, deltas, (0.1, 0.1, 0.2, 0.2))
    found = box_ops.clip(found[None], ops.array([[90, 110]]))[0]
    np.testing.assert_allclose(
        ops.convert_to_numpy(found), golden["decode/boxes"], atol=1e-3
    )


def test_suppression_keeps_the_same_in_the_same_order(golden):
    kept = golden["nms/kept"]
    found, number = non_max_suppression(
        golden["nms/boxes"][None],
        golden["nms/scores"][None],
        golden["nms/classes"][None],
        0.5,
        len(kept) + 10,
    )
    assert int(number[0]) == len(kept)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(found)[0, : len(kept)], kept
    )


def test_masks_are_pasted(golden):
    found = paste_masks(golden["masks/masks"], golden["masks/boxes"], 60, 75)
    wanted = np.unpackbits(golden["masks/pasted"], count=found.size)
    assert 0.05 < wanted.mean() < 0.5
    np.testing.assert_array_equal(found, wanted.reshape(found.shape))
