import numpy as np
import pytest
from equations import conv, norm, sigmoid, values
from keras import ops

from keras_epsanet.attention.plane_gate import PlaneGate, max_and_mean


def test_equation(draw_weights):
    layer = PlaneGate(3)
    layer.build((None, 5, 6, 2))
    kernel, bn = values(draw_weights(layer).conv.kernel, layer.norm)
    x = np.random.default_rng(0).standard_normal((2, 5, 6, 2))
    result = ops.convert_to_numpy(layer(x.astype("float32")))
    expected = sigmoid(norm(conv(x, kernel), *bn))[..., 0]
    np.testing.assert_allclose(result, expected, atol=1e-5)
    assert layer.compute_output_shape(x.shape) == result.shape


def test_starts_at_one_half_if_told_to():
    x = np.random.default_rng(0).standard_normal((2, 5, 6, 2))
    result = PlaneGate(3, zero_gamma=True)(x.astype("float32"))
    np.testing.assert_array_equal(ops.convert_to_numpy(result), 0.5)
    result = ops.convert_to_numpy(PlaneGate(3)(x.astype("float32")))
    assert np.abs(result - 0.5).max() > 0.01
    assert PlaneGate(3).norm.momentum == 0.99


def test_the_maximum_comes_first():
    x = ops.convert_to_tensor([[[1.0, 2.0, 6.0]]])
    result = ops.convert_to_numpy(max_and_mean(x, 2))
    np.testing.assert_allclose(result, [[[6, 3]]])


def test_operations_by_hand():
    layer = PlaneGate(3)
    layer.build((None, 5, 6, 2))
    assert layer.count_operations((1, 5, 6, 2)) == {
        "macs": 2 * 9 * 5 * 6,
        "normalized": 5 * 6,
    }


def test_arguments_survive():
    config = PlaneGate(3, zero_gamma=True).get_config()
    assert config == PlaneGate.from_config(config).get_config()
    assert (config["kernel_size"], config["zero_gamma"]) == (3, True)


@pytest.mark.parametrize("size", [0, 4])
def test_kernel_size_must_be_odd_and_positive(size):
    with pytest.raises(ValueError, match=f"Received: kernel_size={size}"):
        PlaneGate(size)
