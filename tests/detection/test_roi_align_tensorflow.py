import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow's operations", allow_module_level=True)

import tensorflow as tf

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


def test_a_map_of_one_value_has_it_everywhere():
    features = tf.fill((1, 10, 12, 2), 3.0)
    for ratio in (0, 1, 3):
        found = align(features, BOXES[:1], tf.constant([0]), 4, ratio)
        np.testing.assert_allclose(found, 3.0, rtol=1e-6)
