import numpy as np
import pytest
from equations import grouped, values

from keras_epsanet.attention import PyConv2D


@pytest.mark.parametrize("strides", [1, 2])
def test_equation(check_equation, size, dtype, strides):
    def equation(x, layer):
        parts = [
            grouped(x, *values(conv.kernel), conv.groups, stride=strides)
            for conv in layer.convolutions
        ]
        return np.concatenate(parts, -1)

    check_equation(
        lambda **kwargs: PyConv2D(
            (4, 6, 8), (3, 5, 7), (1, 2, 4), strides, **kwargs
        ),
        equation,
        (2, *size, 8),
        dtype,
    )


def test_one_number_of_filters_is_divided():
    layer = PyConv2D(64)
    assert [conv.filters for conv in layer.convolutions] == 4 * [16]


def test_operations_by_hand():
    layer = PyConv2D((4, 6), (3, 5), (1, 2), data_format="channels_last")
    layer.build((1, 5, 7, 8))
    kernels = 9 * 8 * 4 + 25 * 4 * 6
    assert layer.count_params() == kernels
    counts = layer.count_operations((1, 5, 7, 8))
    assert counts["macs"] == 5 * 7 * kernels


def test_arguments_and_training(check_contract):
    check_contract(
        PyConv2D, kernel_sizes=(3, 5, 7, 9), groups=(1, 4, 8, 16), strides=1
    )
