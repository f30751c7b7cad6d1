import numpy as np
from equations import channel_attention, values
from keras import ops

from keras_epsanet.attention import ChannelAttention


def test_equation(check_equation, size, dtype):
    check_equation(
        ChannelAttention,
        lambda x, layer: channel_attention(x, *values(layer.gamma)),
        (2, *size, 16),
        dtype,
    )


def test_products_over_many_pixels_are_finite_in_16_bits(draw_weights):
    layer = ChannelAttention(dtype="mixed_float16", data_format="channels_last")
    x = np.full((1, 64, 64, 4), 8.0, "float16")  # 64² times 64 is too much.
    layer.build(x.shape)
    layer.gamma.assign(1.0)
    y = ops.convert_to_numpy(layer(x))
    np.testing.assert_array_equal(y, np.full_like(x, 16.0))


def test_arguments_and_training(check_contract):
    check_contract(ChannelAttention)
