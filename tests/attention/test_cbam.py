import numpy as np
import pytest
from equations import cbam, sigmoid, values
from keras import ops

from keras_epsanet.attention import CBAM


@pytest.mark.parametrize("use_bias", [False, True])
def test_equation(check_equation, size, dtype, use_bias):
    def equation(x, layer):
        fc1, fc2 = layer.mlp.fc1, layer.mlp.fc2
        w1, w2, k, bn = values(
            fc1.kernel, fc2.kernel, layer.gate.conv.kernel, layer.gate.norm
        )
        b1, b2 = values(fc1.bias, fc2.bias) if use_bias else (0, 0)
        return cbam(x, w1, b1, w2, b2, k, bn)

    check_equation(
        lambda **kwargs: CBAM(4, use_bias=use_bias, **kwargs),
        equation,
        (2, *size, 16),
        dtype,
    )


def test_the_gate_of_the_pixels_starts_at_one_half(float64):
    layer = CBAM(4, dtype="float64")
    x = np.random.default_rng(0).standard_normal((2, 5, 6, 16))
    y = ops.convert_to_numpy(layer(x))
    w1, b1, w2, b2 = values(*layer.mlp.weights)
    assert not b1.any() and not b2.any()
    logits = sum(
        np.maximum(s @ w1, 0) @ w2 for s in (x.mean((1, 2)), x.max((1, 2)))
    )
    expected = x * sigmoid(logits)[:, None, None] / 2
    np.testing.assert_allclose(y, expected, rtol=1e-10)


def test_the_published_number_of_parameters():
    layer = CBAM()
    layer.build((None, 14, 14, 1024))
    trainable = sum(np.prod(w.shape) for w in layer.trainable_weights)
    assert trainable == 2 * 1024**2 // 16 + 64 + 1024 + 98 + 2


def test_arguments_and_training(check_contract):
    check_contract(CBAM, reduction=16, kernel_size=7, use_bias=True)
