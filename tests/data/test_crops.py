import keras
import numpy as np
import pytest

from keras_epsanet.data import crops

if keras.backend.backend() != "tensorflow":
    pytest.skip("made of TensorFlow's operations", allow_module_level=True)

import tensorflow as tf

LARGEST = 1 - 2.0**-23  # Of the random numbers in [0, 1).


def box(vertical, horizontal, shape=(5, 7), area=0.3):
    """The part for such a share of the area, a square, and such offsets."""
    uniforms = np.zeros(crops.NUM_UNIFORMS, "float32")
    uniforms[: crops.ATTEMPTS] = (area - 0.08) / 0.92
    uniforms[crops.ATTEMPTS : -3] = 0.5
    uniforms[-3:-1] = vertical, horizontal
    return crops.random_box(shape, tf.constant(uniforms)).numpy().tolist()


def test_every_offset_is_drawn_as_often():
    # 3×3 pixels of 5×7.
    steps = (np.arange(60) + 0.5) / 60
    tops = [box(x, 0)[0] for x in steps]
    lefts = [box(0, x)[1] for x in steps]
    assert np.bincount(tops).tolist() == [20] * 3
    assert np.bincount(lefts).tolist() == [12] * 5


@pytest.mark.parametrize("shape", [(5, 7), (400, 350), (3999, 6000)])
def test_parts_stay_inside(shape):
    top, left, height, width = box(LARGEST, LARGEST, shape)
    assert (top + height, left + width) == shape
    assert box(0, 0, shape)[:2] == [0, 0]


def test_where_nothing_fits_the_middle_is_taken():
    assert box(0.9, 0.9, (4, 40), area=1.0) == [0, 17, 4, 5]
