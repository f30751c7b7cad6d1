import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet.detection.top_k import top_k

VALUES = np.array([[3.0, 5.0, 4.0], [9.0, 7.0, 8.0]], "float32")


@pytest.mark.parametrize("number", [1, 2, 3, 7])
def test_the_largest_come_in_falling_order(number):
    values, indices = top_k(ops.convert_to_tensor(VALUES), number)
    order = [[1, 2, 0], [0, 2, 1]]
    np.testing.assert_array_equal(
        ops.convert_to_numpy(indices), np.array(order)[:, :number]
    )
    np.testing.assert_array_equal(
        ops.convert_to_numpy(values), -np.sort(-VALUES)[:, :number]
    )
    assert keras.backend.standardize_dtype(indices.dtype) == "int32"


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="others know all sizes"
)
def test_the_number_of_values_may_be_unknown():
    import tensorflow as tf

    signature = [tf.TensorSpec((2, None), "float32")]
    graph = tf.function(lambda x: top_k(x, 7), input_signature=signature)
    values, _ = graph(VALUES[:, :2])
    np.testing.assert_array_equal(values, [[5.0, 3.0], [9.0, 7.0]])
