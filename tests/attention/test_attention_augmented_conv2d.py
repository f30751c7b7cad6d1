import keras
import numpy as np
import pytest
from equations import aa_conv, values
from keras import ops

from keras_epsanet.attention import AttentionAugmentedConv2D
from keras_epsanet.attention.attention_augmented_conv2d import _resample


@pytest.mark.parametrize("strides, table_size", [(1, None), (2, None), (1, 0)])
def test_equation(check_equation, size, dtype, strides, table_size):
    def equation(x, layer):
        kernel, qkv, output = values(
            layer.conv.kernel, layer.qkv_conv.kernel, layer.output_conv.kernel
        )
        tables = ()
        if table_size is None:
            tables = values(layer.row_table, layer.column_table)
        return aa_conv(
            x, kernel, qkv[0, 0], output[0, 0], 2, 8, strides, *tables
        )

    def make(**kwargs):
        return AttentionAugmentedConv2D(
            12,
            8,
            4,
            num_heads=2,
            strides=strides,
            table_size=table_size,
            **kwargs,
        )

    check_equation(make, equation, (2, *size, 10), dtype)


def test_tables_of_another_size_are_stretched():
    table = ops.convert_to_tensor(np.array([[0.0], [10.0], [40.0]]))
    for size, expected in (
        (1, [10]),
        (2, [0, 10, 40]),
        (3, [0, 5, 10, 25, 40]),
    ):
        result = ops.convert_to_numpy(_resample(table, size))
        np.testing.assert_allclose(result[:, 0], expected, atol=1e-6)


def test_a_size_for_the_tables_is_needed():
    layer = AttentionAugmentedConv2D(16, 8, 8)
    with pytest.raises(ValueError, match="`table_size`.*Received: input_sh"):
        layer.build((None, None, 5, 16))
    layer = AttentionAugmentedConv2D(16, 8, 8, table_size=(5, 4))
    layer.build((None, None, None, 16))
    assert layer.row_table.shape == (9, 1)
    assert layer.column_table.shape == (7, 1)


def test_tables_begin_with_the_deviation_of_the_published_ones():
    keras.utils.set_random_seed(0)
    layer = AttentionAugmentedConv2D(64, 32, 8, num_heads=2)
    layer.build((None, 200, 150, 16))
    for table in values(layer.row_table, layer.column_table):
        assert table.mean() == pytest.approx(0, abs=0.02)
        # One over the root of a head's 16 numbers of a key.
        assert table.std() == pytest.approx(0.25, rel=0.05)


def test_the_published_number_of_parameters():
    layer = AttentionAugmentedConv2D(256, 160, 24)
    layer.build((None, 14, 14, 256))
    expected = 9 * 256 * (256 - 24) + 256 * (2 * 160 + 24) + 24**2
    assert layer.count_params() == expected + (2 * 14 + 2 * 14 - 2) * 160 // 8


def test_arguments_and_training(check_contract):
    check_contract(
        AttentionAugmentedConv2D,
        kernel_size=3,
        num_heads=8,
        strides=1,
        table_size=None,
    )
