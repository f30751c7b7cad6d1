import keras
import numpy as np
import pytest

from keras_epsanet import AttentionSlot, ResNet
from keras_epsanet.attention import SE


def names(slot):
    model = ResNet(
        (1,),
        (16,),
        slot and AttentionSlot(SE(reduction=2), slot, name="x"),
        include_top=False,
    )
    start = "conv2_block1_"
    return [
        layer.name.removeprefix(start)
        for layer in model.layers
        if layer.name.startswith(start)
        and not layer.name.startswith(f"{start}0")
    ]


FIRST = ["1_conv", "1_bn", "1_relu"]
SECOND = ["2_conv", "2_bn", "2_relu"]


@pytest.mark.parametrize(
    "slot, expected",
    [
        (None, [*FIRST, *SECOND, "3_conv", "3_bn", "add", "out"]),
        ("residual", [*FIRST, *SECOND, "3_conv", "3_bn", "x", "add", "out"]),
        (
            "convolution",
            [*FIRST, "x", *SECOND[1:], "3_conv", "3_bn", "add", "out"],
        ),
        (
            "convolution_norm_relu",
            [*FIRST, "x", "3_conv", "3_bn", "add", "out"],
        ),
        (
            "after_convolution",
            [*FIRST, "2_conv", "x", "2_bn", "2_relu", "3_conv", "3_bn"]
            + ["add", "out"],
        ),
        ("output", [*FIRST, *SECOND, "3_conv", "3_bn", "add", "out", "x"]),
    ],
)
def test_order_of_the_layers_of_a_block(slot, expected):
    assert names(slot) == expected


def test_strides_are_in_the_second_convolution_and_the_shortcut():
    model = ResNet((1, 2), (16, 16), include_top=False)
    strides = {
        layer.name: layer.strides
        for layer in model.layers
        if layer.name.startswith("conv3") and layer.name.endswith("conv")
    }
    assert {name for name, s in strides.items() if s in (2, (2, 2))} == {
        "conv3_block1_0_conv",
        "conv3_block1_2_conv",
    }


def test_the_classifier_starts_as_a_linear_layer_of_pytorch():
    model = ResNet((1,), (16,), input_shape=(32, 32, 3), classes=2000)
    bound = 64**-0.5
    for weight in model.get_layer("predictions").weights:
        values = keras.ops.convert_to_numpy(weight)
        assert 0.99 * bound < np.abs(values).max() <= bound
        np.testing.assert_allclose(values.var(), bound**2 / 3, rtol=0.1)
