import keras
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


def test_the_head_starts_as_pytorch_s_kaiming_normal():
    head = make_mask_head(256, 80)
    for name in ("mask_conv1", "mask_conv4", "mask_upsample", "mask_logits"):
        kernel = ops.convert_to_numpy(head.get_layer(name).kernel)
        height, width = kernel.shape[:2]
        outputs = 80 if name == "mask_logits" else 256
        deviation = (2 / (height * width * outputs)) ** 0.5
        np.testing.assert_allclose(kernel.std(), deviation, rtol=0.03)


def test_all_but_the_last_layer_end_in_relu():
    head = make_mask_head(8, 2)
    names = [*(f"mask_conv{i}" for i in range(1, 5)), "mask_upsample"]
    layers = [head.get_layer(name).output for name in names]
    inputs = np.random.default_rng(0).normal(size=(2, 14, 14, 8))
    for x in keras.Model(head.input, layers)(inputs.astype("float32")):
        x = ops.convert_to_numpy(x)
        assert x.min() == 0 and 0.1 < np.mean(x == 0) < 0.9
    assert ops.convert_to_numpy(head(inputs.astype("float32"))).min() < 0


def test_the_last_layer_is_in_full_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        head = make_mask_head(8, 2)
    finally:
        keras.config.set_dtype_policy("float32")
    assert head.get_layer("mask_conv4").compute_dtype == "bfloat16"
    assert head.get_layer("mask_logits").compute_dtype == "float32"


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


def test_the_loss_of_cropped_masks_is_that_of_planes():
    """Of cells that are 2 x 2 pixels, of which the last ones are outside."""
    planes = make_masks()
    cells = np.zeros((2, 2, 32, 32), "uint8")
    cells[:, :, :20, :30] = 255 * planes[..., ::2, ::2]
    edges = np.broadcast_to(2.0 * np.arange(33), (2, 2, 2, 33)).copy()
    edges[..., 0] = -1  # The border's pixel is one further out.
    edges[:, :, 0, 20:] = edges[:, :, 1, 30:] = 0
    edges[:, :, 0, 20:], edges[:, :, 1, 30:] = 41, 61
    boxes = np.array([[[10, 4, 50, 20]] * 2, [[0, 0, 40, 40]] * 2], "float32")
    objects = labels = np.array([[0, 1], [1, 0]], "int32")
    random = np.random.default_rng(0)
    logits = random.normal(size=(2, 2, 28, 28, CLASSES)).astype("float32")
    arrays = [objects, boxes, labels, labels >= 0, logits]
    arrays = list(map(ops.array, arrays))
    expected = mask_loss(ops.array(planes), *arrays)
    found = mask_loss(ops.array(cells), *arrays, ops.array(edges))
    np.testing.assert_allclose(float(found), float(expected), rtol=1e-5)


def test_a_full_mask_fills_its_box():
    boxes = [[10, 5, 30, 25], [-5, -5, 6, 6], [50, 30, 70, 50]]
    masks = paste_masks(np.ones((3, 28, 28)), boxes, 40, 60)
    wanted = np.zeros((3, 40, 60))
    wanted[0, 5:25, 10:30] = wanted[1, :6, :6] = wanted[2, 30:, 50:] = 1
    np.testing.assert_array_equal(masks, wanted)


@pytest.mark.parametrize(
    "box, is_full",
    [
        ((3.3, -2.7, 41.9, 30.2), False),
        ((3.5, 2.5, 17.5, 30.5), True),  # Middles that lie on its border.
        ((10.2, 5.3, 10.8, 25.1), False),  # Of less than a pixel.
        ((10.2, 5.2, 10.8, 5.9), False),
    ],
)
def test_masks_are_interpolated_at_the_middles_of_pixels(box, is_full):
    """Pixel by pixel, as PyTorch's `grid_sample` with zeros outside."""
    mask = np.random.default_rng(0).uniform(size=(28, 28))
    mask[:, :13] /= 2
    if is_full:
        mask[:] = 1
    x1, y1, x2, y2 = box
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
