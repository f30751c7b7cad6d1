import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow's operations", allow_module_level=True)

import tensorflow as tf
from plain_roi_align import expected

from keras_epsanet.detection.roi_align_tensorflow import align, align_pyramid

BOXES = np.array([[0, 0, 8, 8], [2, 3, 20, 9], [1, 1, 6, 30]], "float32")


@pytest.mark.parametrize("ratio", [2, 0])
def test_boxes_come_from_their_levels_in_their_order(ratio):
    random = np.random.default_rng(0)
    levels = [
        random.normal(size=(2, 32 // s, 32 // s, 3)).astype("float32")
        for s in (1, 2)
    ]
    images, chosen = tf.constant([1, 0, 1]), tf.constant([1, 0, 1])
    found = align_pyramid(levels, (1, 2), BOXES, images, chosen, 5, ratio)
    for i in range(3):
        level, stride = levels[chosen[i]], (1, 2)[chosen[i]]
        wanted = align(
            level, BOXES[i : i + 1] / stride, images[i : i + 1], 5, ratio
        )
        np.testing.assert_allclose(found[i], wanted[0], atol=1e-6)


@pytest.mark.parametrize("ratio", [2, 0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_are_those_of_a_plain_loop(ratio, dtype):
    """At the borders, outside, without a side, with many numbers of samples."""
    features = np.random.default_rng(0).normal(size=(2, 10, 12, 3))
    boxes = np.array(
        [
            *BOXES,
            [-3.5, -2.1, 4.4, 5.6],
            [-1, -1, 0, 0],
            [11.83, 9.71, 13.1, 11.2],
            [3, 3, 3, 9],
            [9, 8, 3, 3],
            [0, 2, 12, 4],
            [2, 0, 4, 20],
            [5, 0, 12, 6],
        ],
        "float32",
    )
    images = np.arange(len(boxes), dtype="int32") % 2
    found = align(
        tf.constant(features, dtype), boxes, tf.constant(images), 3, ratio
    )
    assert found.dtype == dtype
    for box, image, values in zip(boxes, images, found):
        wanted = expected(features[image], box, 3, 1, ratio)
        np.testing.assert_allclose(values, wanted, atol=1e-4)


def test_a_map_of_one_value_has_it_everywhere():
    features = tf.fill((1, 10, 12, 2), 3.0)
    for ratio in (0, 1, 3):
        found = align(features, BOXES[:1], tf.constant([0]), 4, ratio)
        np.testing.assert_allclose(found, 3.0, rtol=1e-6)
