import keras
import numpy as np
import pytest

from keras_epsanet.ops.steps import compile_steps


@pytest.mark.parametrize("jit", [False, True])
def test_outputs_and_the_gradients_of_all_operands_are_computed(jit):
    if jit and keras.backend.backend() == "torch":
        pytest.skip("needs a compiler of C++")

    def function(images, weights):
        return images * weights[0] + weights[1]

    arrays = [keras.ops.convert_to_tensor([[x, 1.0]]) for x in (2.0, 3.0, 5.0)]
    images, *weights = arrays
    upstream = keras.ops.convert_to_tensor([[1.0, 4.0]])
    forward, gradients = compile_steps(function, images, weights, upstream, jit)
    for _ in range(2):
        found = keras.ops.convert_to_numpy(forward())
        np.testing.assert_array_equal(found, [[11, 2]])
        found = keras.tree.flatten(gradients())
        found = [keras.ops.convert_to_numpy(x).tolist() for x in found]
        assert found == [[[3, 4]], [[2, 4]], [[1, 4]]]
