import numpy as np
import pytest
from equations import non_local, values
from keras import ops

from keras_epsanet.attention import NonLocal


def pooled(x):
    """The maxima of squares of 2 × 2, of less at the end."""
    height, width = (size + size % 2 for size in x.shape[1:3])
    whole = np.full((len(x), height, width, x.shape[3]), -np.inf)
    whole[:, : x.shape[1], : x.shape[2]] = x
    whole = whole.reshape(len(x), height // 2, 2, width // 2, 2, -1)
    return whole.max((2, 4))


@pytest.mark.parametrize("pool_size, use_norm", [(1, True), (2, False)])
def test_equation(check_equation, size, dtype, pool_size, use_norm):
    def equation(x, layer):
        weights = []
        for conv in (layer.theta, layer.phi, layer.g, layer.output_conv):
            kernel, bias = values(conv.kernel, conv.bias)
            weights += [kernel[0, 0], bias]
        if use_norm:
            weights += values(layer.norm)
        return non_local(x, pooled(x) if pool_size == 2 else x, *weights)

    check_equation(
        lambda **kwargs: NonLocal(4, pool_size, use_norm, **kwargs),
        equation,
        (2, *size, 16),
        dtype,
    )


@pytest.mark.parametrize("use_norm", [True, False])
def test_starts_as_the_identity(use_norm):
    x = np.random.default_rng(0).standard_normal((2, 5, 6, 16))
    x = x.astype("float32")
    y = ops.convert_to_numpy(NonLocal(use_norm=use_norm)(x))
    np.testing.assert_array_equal(y, x)


def test_initial_values_are_those_of_the_published_code():
    layer = NonLocal()
    layer.build((None, 4, 4, 256))
    for conv in (layer.theta, layer.phi, layer.g, layer.output_conv):
        kernel, bias = values(conv.kernel, conv.bias)
        np.testing.assert_allclose(kernel.std(), 0.01, rtol=0.05)
        assert not bias.any()
    assert layer.norm.momentum == 0.9


def test_the_published_number_of_parameters():
    layer = NonLocal()
    layer.build((None, 14, 14, 1024))
    trainable = sum(np.prod(w.shape) for w in layer.trainable_weights)
    assert trainable == 2 * 1024**2 + 2.5 * 1024 + 2 * 1024


def test_arguments_and_training(check_contract):
    check_contract(NonLocal, reduction=2, pool_size=1, use_norm=True)
