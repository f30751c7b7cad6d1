import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("a step of tensorflow", allow_module_level=True)

from keras_epsanet.ops.grouped_conv import grouped_convolution
from keras_epsanet.ops.steps_tensorflow import compile_steps


def test_a_step_computes_forward_or_the_gradients_of_both():
    traced = []

    def convolve(image, kernel):
        traced.append((tuple(image.shape), tuple(kernel.shape)))
        return grouped_convolution(image, kernel, (1, 1), 2, "channels_last")

    shapes = (1, 4, 4, 4), (3, 3, 2, 4), (1, 4, 4, 4)
    forward, gradients = compile_steps(
        convolve, *(np.ones(shape, "float32") for shape in shapes)
    )
    assert traced == [shapes[:2]] * 2  # Once for each.
    # A corner sees 2 × 2 pixels of two channels.
    for _ in range(2):
        assert np.array(forward()).flat[0] == 8
    of_image, of_kernel = gradients()
    assert np.array(of_image).flat[0] == 8
    assert np.array(of_kernel).flat[0] == 9
    assert traced == [shapes[:2]] * 2
