import numpy as np
import pytest
from keras import ops

from keras_epsanet.detection.mask_head import (
    crop_masks,
    encode_masks,
    make_mask_head,
    mask_loss,
    own_class,
    paste_masks,
)

CLASSES = 3


def test_parameters():
    head = make_mask_head(256, 80)
    assert head.count_params() == 2_643_280
    assert tuple(head.output_shape[1:]) == (28, 28, 80)


def make_masks():
    """Two images with two rectangles each, `(2, 2, 40, 60)`."""
    masks = np.zeros((2, 2, 40, 60), "uint8")
    masks[0, 0, 4:20, 10:50] = masks[0, 1, :, 30:] = 1
    masks[1, 0, 20:, :20] = masks[1, 1, 10:30, 10:30] = 1
    return masks


def test_masks_are_cropped_to_boxes():
    boxes = np.array(
        [
            [[10, 4, 50, 20], [0, 0, 60, 40], [20, 0, 40, 40]],
            [[0, 0, 40, 40], [10, 10, 30, 30], [30, 30, 60, 40]],
        ],
        "float32",
    )
    objects = np.array([[0, 0, 1], [0, 1, 1]], "int32")
    crops = ops.convert_to_numpy(
        crop_masks(*map(ops.array, (make_masks(), objects, boxes)), 28)
    )
    assert crops.shape == (2, 3, 28, 28) and set(np.unique(crops)) == {0, 1}
    assert crops[0, 0].all() and crops[1, 1].all() and not crops[1, 2].any()
    # Its share of the box, to half a pixel of the crop at each border.
    assert crops[0, 1].mean() == pytest.approx(16 * 40 / 2400, abs=0.05)
    np.testing.assert_array_equal(crops[0, 2][:, :14], 0)
    np.testing.assert_array_equal(crops[0, 2][:, 14:], 1)
    np.testing.assert_array_equal(crops[1, 0][14:, :14], 1)
    assert crops[1, 0].sum() == 14 * 14


def test_the_loss_is_the_mean_over_the_pixels_of_objects():
    random = np.random.default_rng(0)
    masks, objects = make_masks(), np.array([[0, 1, 0], [1, 0, 0]], "int32")
    boxes = np.array([[[10, 4, 50, 20]] * 3, [[0, 0, 40, 40]] * 3], "float32")
    labels = np.array([[2, 0, 3], [1, 3, 3]], "int32")
    is_object = labels < CLASSES
    logits = random.normal(size=(2, 3, 28, 28, CLASSES)).astype("float32")
    targets = crop_masks(*map(ops.array, (masks, objects, boxes)), 28)
    targets = ops.convert_to_numpy(targets)
    entropies = []
    for i in zip(*np.nonzero(is_object)):
        signs = 2 * targets[i] - 1
        entropies.append(np.log1p(np.exp(-signs * logits[i][..., labels[i]])))
    arrays = [masks, objects, boxes, labels, is_object, logits]
    found = mask_loss(*map(ops.array, arrays))
    np.testing.assert_allclose(float(found), np.mean(entropies), rtol=1e-5)
    arrays[4] = np.zeros_like(is_object)
    assert float(mask_loss(*map(ops.array, arrays))) == 0
    found = own_class(ops.array(logits), ops.array(labels))
    np.testing.assert_allclose(
        found[0, 0], 1 / (1 + np.exp(-logits[0, 0, ..., 2])), rtol=1e-5
    )


def test_a_full_mask_fills_its_box():
    boxes = [[10, 5, 30, 25], [-5, -5, 6, 6], [50, 30, 70, 50]]
    masks = paste_masks(np.ones((3, 28, 28)), boxes, 40, 60)
    wanted = np.zeros((3, 40, 60))
    wanted[0, 5:25, 10:30] = wanted[1, :6, :6] = wanted[2, 30:, 50:] = 1
    np.testing.assert_array_equal(masks, wanted)


def test_masks_are_interpolated_at_the_middles_of_pixels():
    """Pixel by pixel, as PyTorch's `grid_sample` with zeros outside."""
    mask = np.random.default_rng(0).uniform(size=(28, 28))
    x1, y1, x2, y2 = 3.3, -2.7, 41.9, 30.2
    (found,) = paste_masks([mask], [[x1, y1, x2, y2]], 40, 60)
    padded = np.pad(mask, 1)
    for row, column in np.ndindex(40, 60):
        y = (row + 0.5 - y1) / (y2 - y1) * 28 + 0.5
        x = (column + 0.5 - x1) / (x2 - x1) * 28 + 0.5
        value = 0
        if 0 <= y < 29 and 0 <= x < 29:
            i, j, v, u = int(y), int(x), y % 1, x % 1
            corners = padded[i : i + 2, j : j + 2]
            value = [1 - v, v] @ corners @ [1 - u, u]
        assert found[row, column] == (value >= 0.5), (row, column)


@pytest.mark.parametrize("threshold", [(), (0.75,)])
def test_run_lengths_are_those_of_the_pasted_masks(threshold):
    coding = pytest.importorskip("pycocotools.mask")
    masks = np.random.default_rng(0).uniform(size=(2, 28, 28))
    boxes = [[10, 5, 30, 25], [-5, -5, 36, 36]]
    pasted = paste_masks(masks, boxes, 40, 60, *threshold)
    encoded = encode_masks(masks, boxes, 40, 60, *threshold)
    for run, mask in zip(encoded, pasted):
        assert isinstance(run["counts"], str)
        np.testing.assert_array_equal(coding.decode(run), mask)


def test_boxes_without_an_area_or_outside_have_no_pixels():
    boxes = [[10, 5, 10, 5], [70, 5, 90, 25], [20, 20, 10, 10]]
    assert not paste_masks(np.ones((3, 28, 28)), boxes, 40, 60).any()


def test_what_is_exactly_as_likely_as_the_threshold_is_the_object():
    masks, boxes = np.full((1, 28, 28), 0.5), [[0, 0, 28, 28]]
    assert paste_masks(masks, boxes, 28, 28)[0, 5:-5, 5:-5].all()
    assert paste_masks(masks, boxes, 28, 28, threshold=0.51).sum() == 0
