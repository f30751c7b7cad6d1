import keras
import numpy as np
import pytest
from keras import ops
from plain_roi_align import expected

from keras_epsanet.detection import roi_align_tensorflow
from keras_epsanet.detection.roi_align import (
    assign_levels,
    pyramid_roi_align,
    roi_align,
)

TENSORFLOW = keras.backend.backend() == "tensorflow"
# Corners in pixels: inside, across each border, outside, without an area.
BOXES = np.array(
    [
        [1.2, 2.3, 9.7, 8.1],
        [-3.5, -2.1, 4.4, 5.6],
        [6.6, 5.2, 15.9, 13.3],
        [-6, -6, -2, -2],
        [3, 3, 3, 3],
        [0, 0, 12, 10],
        [0.5, 9.5, 11.5, 10],
    ],
    "float32",
)
IMAGES = np.array([0, 1, 1, 0, 1, 0, 1], "int32")


def make_features(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("ratio", [1, 2, 3, 0])
@pytest.mark.parametrize("size, scale", [(2, 1), (7, 1), (3, 0.5)])
def test_values_are_those_of_a_plain_loop(size, scale, ratio):
    features = make_features(2, 10, 12, 3)
    found = roi_align(features, BOXES, IMAGES, size, scale, ratio)
    for box, image, values in zip(BOXES, IMAGES, found):
        wanted = expected(features[image], box, size, scale, ratio)
        np.testing.assert_allclose(values, wanted, atol=1e-4)


def test_reference_values():
    features = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    boxes = np.array([[0, 0, 4, 4], [3, 3, 6, 6]], "float32")
    found = ops.convert_to_numpy(
        roi_align(features, boxes, np.array([0, 0], "int32"), 2)
    )
    np.testing.assert_allclose(found[0].ravel(), [2.5, 4.5, 10.5, 12.5])
    np.testing.assert_allclose(found[1].ravel(), [14.6875, 0, 0, 0])


@pytest.mark.parametrize("ratio", [2, 0])
def test_values_are_torchvisions(ratio):
    torchvision = pytest.importorskip("torchvision")
    torch = pytest.importorskip("torch")
    features = make_features(2, 10, 12, 3)
    rois = np.concatenate((IMAGES[:, None], BOXES), axis=1)
    wanted = torchvision.ops.roi_align(
        torch.tensor(features.transpose(0, 3, 1, 2)),
        torch.tensor(rois, dtype=torch.float32),
        7,
        sampling_ratio=ratio or -1,
        aligned=True,
    )
    found = roi_align(features, BOXES, IMAGES, 7, 1, ratio)
    wanted = wanted.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(ops.convert_to_numpy(found), wanted, atol=1e-4)


@pytest.mark.parametrize("ratio", [2, 0])
def test_gradients_are_finite_differences(ratio, gradient_of):
    features = make_features(2, 10, 12, 1)
    upstream = ops.array(make_features(len(BOXES), 3, 3, 1))

    def total(values):
        return ops.sum(roi_align(values, BOXES, IMAGES, 3, 1, ratio) * upstream)

    gradient = gradient_of(total, features)
    # The sum is linear in the features: a difference of any size is exact.
    for place in np.random.default_rng(1).integers(0, features.size, 40):
        moved = features.copy()
        moved.flat[place] += 1
        difference = float(total(moved)) - float(total(features))
        assert gradient.flat[place] == pytest.approx(difference, abs=1e-4)


@pytest.mark.parametrize("form", ["one level", "pyramid", "portable"])
def test_boxes_have_no_gradient(form, gradient_of):
    features = ops.array(make_features(1, 10, 12, 2))

    def total(boxes):
        boxes = ops.convert_to_tensor(boxes)
        if form == "one level":
            images = ops.zeros((len(BOXES),), "int32")
            found = roi_align(features, boxes, images, 3)
        else:
            found = pyramid_roi_align(
                *([features], (1,), boxes[None], 3),
                portable=form == "portable",
            )
        return ops.sum(found) + ops.sum(boxes)

    assert (gradient_of(total, BOXES) == 1).all()


@pytest.mark.parametrize("portable", [False, True])
def test_borders_are_the_same_in_both_forms(portable):
    features = make_features(1, 10, 12, 3)
    # The pixel around the image has the values of its border, no other one.
    boxes = np.array(
        [*BOXES, [-1, -1, 0, 0], [12, 10, 13, 11], [-0.7, 4, 0.1, 11.2]],
        "float32",
    )
    found = pyramid_roi_align(
        [features], (1,), boxes[None], 3, portable=portable
    )
    for box, values in zip(boxes, ops.convert_to_numpy(found)[0]):
        wanted = expected(features[0], box, 3, 1, 2)
        np.testing.assert_allclose(values, wanted, atol=1e-4)


def test_every_box_is_taken_from_the_level_of_its_size():
    levels = [make_features(2, 64 // s, 64 // s, 4) for s in (1, 2, 4, 8)]
    boxes = np.array(
        [
            [[0, 0, 40, 40], [10, 20, 180, 130], [-9, 5, 300, 290]],
            [[5, 5, 250, 255], [8, 9, 8, 9], [0, 0, 230, 60]],
        ],
        "float32",
    )
    numbers = np.array([[0, 1, 2], [2, 0, 1]])
    np.testing.assert_array_equal(assign_levels(boxes, 4), numbers)
    found = pyramid_roi_align(levels, (4, 8, 16, 32), boxes, 7)
    assert tuple(found.shape) == (2, 3, 7, 7, 4)
    for image in range(2):
        for box in range(3):
            level = numbers[image, box]
            wanted = expected(
                levels[level][image],
                boxes[image, box],
                7,
                1 / (4 * 2**level),
                2,
            )
            np.testing.assert_allclose(found[image, box], wanted, atol=1e-4)


@pytest.mark.parametrize(
    "side, level",
    [
        *((1, 0), (111, 0), (112, 1), (223, 1), (224, 2), (9999, 3)),
        (111.99997, 1),  # But for rounding.
        *((0, 0), (-300, 0)),
    ],
)
def test_levels_change_at_powers_of_two(side, level):
    assert int(assign_levels(ops.array([0.0, 0, side, side]), 4)) == level


@pytest.mark.parametrize("ratio", [2, 0])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_stays(dtype, ratio):
    features = ops.cast(make_features(2, 10, 12, 3), dtype)
    found = roi_align(features, BOXES, IMAGES, 7, 1, ratio)
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    exact = ops.cast(features, "float32")
    exact = roi_align(exact, BOXES, IMAGES, 7, 1, ratio)
    np.testing.assert_allclose(ops.cast(found, "float32"), exact, atol=0.03)


def test_a_negative_number_of_samples_is_refused():
    with pytest.raises(ValueError, match="Received: sampling_ratio=-1"):
        roi_align(make_features(1, 4, 4, 1), BOXES, IMAGES * 0, 2, 1, -1)


@pytest.mark.skipif(not TENSORFLOW, reason="unknown sizes are TensorFlow's")
@pytest.mark.parametrize("ratio", [2, 0])
def test_sizes_may_be_unknown(ratio):
    import tensorflow as tf

    features = make_features(2, 10, 12, 3)

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, None, 3)),
            tf.TensorSpec((None, 4)),
            tf.TensorSpec((None,), "int32"),
        ]
    )
    def align(features, boxes, images):
        return roi_align(features, boxes, images, 3, 1, ratio)

    np.testing.assert_allclose(
        align(features, BOXES, IMAGES),
        roi_align(features, BOXES, IMAGES, 3, 1, ratio),
        atol=1e-6,
    )
    empty = align(features, BOXES[:0], IMAGES[:0])
    assert empty.shape == (0, 3, 3, 3)


def test_a_side_that_rounding_left_short_of_a_level_has_it():
    """MMDetection adds a millionth to side / 56."""
    side = np.nextafter(np.float32(112), np.float32(0))
    boxes = np.array([[0, 0, side, side]], "float32")
    assert int(assign_levels(boxes, 4)[0]) == 1


@pytest.mark.skipif(not TENSORFLOW, reason="others keep it by themselves")
def test_double_precision_stays():
    features = np.random.default_rng(0).normal(size=(2, 10, 12, 3))
    aligned = roi_align(ops.convert_to_tensor(features), BOXES, IMAGES, 2)
    assert keras.backend.standardize_dtype(aligned.dtype) == "float64"
    single = roi_align(features.astype("float32"), BOXES, IMAGES, 2)
    np.testing.assert_allclose(aligned, single, atol=1e-6)


@pytest.mark.skipif(not TENSORFLOW, reason="the others gather always")
def test_the_portable_form_does_without_tensorflow_s_operation(monkeypatch):
    def fail(*arguments):
        raise NotImplementedError("no such operation")

    monkeypatch.setattr(roi_align_tensorflow, "align_pyramid", fail)
    arguments = [make_features(1, 10, 12, 3)], (1,), BOXES[None], 3
    pyramid_roi_align(*arguments, portable=True)
    with pytest.raises(NotImplementedError):
        pyramid_roi_align(*arguments)
