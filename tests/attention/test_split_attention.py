import numpy as np
import pytest
from equations import split_attention, values

from keras_epsanet.attention import SplitAttention


@pytest.mark.parametrize(
    "radix, groups, strides", [(2, 1, 1), (2, 2, 2), (1, 1, 1)]
)
def test_equation(check_equation, size, dtype, radix, groups, strides):
    def equation(x, layer):
        weights = values(
            layer.conv.kernel,
            layer.norm,
            layer.fc1.kernel,
            layer.fc1.bias,
            layer.norm_fc1,
            layer.fc2.kernel,
            layer.fc2.bias,
        )
        return split_attention(x, *weights, radix, groups, strides)

    check_equation(
        lambda **kwargs: SplitAttention(
            8, radix=radix, groups=groups, strides=strides, **kwargs
        ),
        equation,
        (2, *size, 12),
        dtype,
    )


def test_operations_by_hand():
    layer = SplitAttention(
        8, radix=2, groups=2, strides=2, data_format="channels_last"
    )
    layer.build((1, 5, 7, 12))
    elements = 3 * 4 * 8
    assert layer.count_operations((1, 5, 7, 12)) == {
        "macs": 9 * 3 * 2 * elements + 3 * 8 * 32 // 2,
        "biases": 32 + 2 * 8,
        "normalized": 2 * elements + 32,
        "relus": 2 * elements + 32,
        "pooled": elements,
        "products": 2 * elements,
    }


@pytest.mark.parametrize("groups", [1, 4])
def test_biases_start_as_pytorchs(groups):
    """Within one over the root of the inputs that an output has."""
    layer = SplitAttention(2048, groups=groups)
    layer.build((None, 4, 4, 8))
    for dense, inputs in ((layer.fc1, 2048), (layer.fc2, 1024)):
        (bias,) = values(dense.bias)
        bound = (inputs // groups) ** -0.5
        assert 0.95 * bound < np.abs(bias).max() <= bound


def test_arguments_and_training(check_contract):
    check_contract(
        SplitAttention, kernel_size=3, radix=2, groups=1, reduction=4, strides=1
    )
