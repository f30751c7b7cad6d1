import keras
import numpy as np
import pytest
from keras import ops
from plain_roi_align import expected

from keras_epsanet.detection.roi_align import roi_align
from keras_epsanet.detection.roi_align_gathers import (
    Places,
    align,
    corner_pixels,
    locate,
    neighbors,
    samples_of_pixels,
)

BOXES = np.array(
    [[0, 0, 7, 14], [0, 0, 7.1, 1], [3, 3, 3, 3], [-20, 0, 30, 5]], "float32"
)


def places_of(boxes):
    number = len(boxes)
    return Places(
        ops.array(boxes),
        ops.zeros((number,), "int32"),
        ops.full((number,), 10, "int32"),
        (ops.full((number,), 8.0), ops.full((number,), 10.0)),
    )


def test_a_bin_has_a_sample_for_each_pixel():
    found = samples_of_pixels(places_of(BOXES), 7)
    wanted = [[2, 1], [1, 2], [1, 1], [1, 8]]
    np.testing.assert_array_equal(ops.convert_to_numpy(found), wanted)


def test_neighbors_of_samples():
    sizes = ops.array([10.0])
    shares = ops.array([0.0, 0.5, 1.0])
    (low, near), (high, far) = neighbors(
        ops.array([-2.0]), ops.array([11.0]), sizes, shares
    )
    # At -2.5, which is outside, at 4 and at 10.5, outside too.
    assert ops.convert_to_numpy(low).tolist() == [[0, 4, 9]]
    assert ops.convert_to_numpy(high).tolist() == [[1, 5, 9]]
    assert ops.convert_to_numpy(near).tolist() == [[0, 1, 0]]
    assert ops.convert_to_numpy(far).tolist() == [[0, 0, 0]]


def test_pixels_are_counted_along_rows():
    rows = [(ops.array([[1, 2]]), ops.array([[0.5, 1.0]]))]
    columns = [(ops.array([[3]]), ops.array([[0.25]]))]
    ((pixels, weights),) = corner_pixels(places_of(BOXES[:1]), rows, columns)
    assert ops.convert_to_numpy(pixels).tolist() == [[[13], [23]]]
    assert ops.convert_to_numpy(weights).tolist() == [[[0.125], [0.25]]]


@pytest.mark.parametrize("ratio", [1, 2, 3])
def test_gathers_give_the_values_of_the_backend(ratio):
    """On TensorFlow these are crops; an ONNX file has gathers."""
    features = np.random.default_rng(0).normal(size=(2, 8, 10, 3))
    features = ops.array(features.astype("float32"))
    images = ops.array([0, 1, 0, 1], "int32")
    rows, places = locate([features], [1], ops.array(BOXES), images, images * 0)
    found = align(rows, places, 7, (ratio, ratio))
    np.testing.assert_allclose(
        ops.convert_to_numpy(found),
        ops.convert_to_numpy(roi_align(features, BOXES, images, 7, 1, ratio)),
        atol=1e-5,
    )


def test_every_box_is_taken_from_its_level_and_image():
    random = np.random.default_rng(0)
    levels = [
        random.normal(size=(2, 12 // s, 20 // s, 3)).astype("float32")
        for s in (1, 2, 4)
    ]
    boxes = np.array([*BOXES, [9, 8, 3, 3], [30, 10, 70, 44]], "float32")
    images = np.array([0, 1, 0, 1, 1, 0], "int32")
    chosen = np.array([0, 1, 2, 2, 0, 1], "int32")
    strides = (4, 8, 16)
    rows, places = locate(
        list(map(ops.array, levels)),
        strides,
        *map(ops.array, (boxes, images, chosen)),
    )
    found = ops.convert_to_numpy(align(rows, places, 3, (2, 2)))
    for box, image, level, values in zip(boxes, images, chosen, found):
        features = levels[level][image]
        wanted = expected(features, box, 3, 1 / strides[level], 2)
        np.testing.assert_allclose(values, wanted, atol=1e-5)


def test_half_precision_stays():
    features = ops.ones((1, 8, 10, 3), "bfloat16")
    images = ops.zeros((len(BOXES),), "int32")
    rows, places = locate([features], [1], ops.array(BOXES), images, images)
    found = align(rows, places, 3, (2, 2))
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="the other backends loop"
)
def test_no_boxes_are_no_values():
    empty = roi_align(ops.ones((1, 4, 4, 2)), BOXES[:0], [], 3, 1, 0)
    assert tuple(empty.shape) == (0, 3, 3, 2)
