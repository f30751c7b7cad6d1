import pytest
from equations import sk, values

from keras_epsanet.attention import SelectiveKernel


@pytest.mark.parametrize("strides", [1, 2])
def test_equation(check_equation, size, dtype, strides):
    def equation(x, layer):
        paths = [
            (dilation, *values(conv.kernel, norm))
            for dilation, conv, norm in zip(
                layer.dilations, layer.convolutions, layer.norms
            )
        ]
        dense = values(layer.fc1.kernel, layer.norm, layer.fc2.kernel)
        return sk(x, paths, *dense, groups=2, stride=strides)

    check_equation(
        lambda **kwargs: SelectiveKernel(
            8, groups=2, minimum=4, strides=strides, **kwargs
        ),
        equation,
        (2, *size, 12),
        dtype,
    )


def test_length_of_the_descriptors():
    for filters, units in ((128, 32), (1024, 64)):
        layer = SelectiveKernel(filters)
        layer.build((None, 4, 4, 64))
        assert layer.fc1.units == units


def test_operations_by_hand():
    layer = SelectiveKernel(
        8, groups=2, minimum=4, strides=2, data_format="channels_last"
    )
    layer.build((1, 5, 7, 12))
    elements = 3 * 4 * 8
    assert layer.count_operations((1, 5, 7, 12)) == {
        "macs": 2 * 9 * 6 * elements + 3 * 8 * 4,
        "biases": 0,
        "relus": 2 * elements + 4,
        "normalized": 2 * elements + 4,
        "pooled": elements,
        "products": 2 * elements,
    }


def test_arguments_and_training(check_contract):
    check_contract(
        SelectiveKernel,
        kernel_size=3,
        dilations=(1, 2),
        groups=32,
        reduction=16,
        minimum=32,
        strides=1,
    )
