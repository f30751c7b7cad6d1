import numpy as np
import pytest
from equations import conv, values
from keras import ops
from running import FORMATS, convert, revert

from keras_epsanet.attention.dilated_conv2d import DilatedConv2D


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize(
    "size, dilation, strides",
    [
        ((9, 7), 1, 1),
        ((9, 7), 2, 1),
        ((8, 6), 2, 2),
        ((9, 7), 2, 2),
        ((9, 7), 4, 1),
        ((3, 5), 4, (1, 2)),
        ((9, 7), 3, 2),
        ((9, 9), 2, 4),
    ],
)
def test_equation(draw_weights, data_format, size, dilation, strides):
    layer = DilatedConv2D(
        6, 3, dilation, strides, groups=2, data_format=data_format
    )
    x = np.random.default_rng(0).standard_normal((2, *size, 4))
    layer.build(convert(x, data_format).shape)
    (kernel,) = values(draw_weights(layer).kernel)
    y = revert(layer(convert(x.astype("float32"), data_format)), data_format)
    parts = [
        conv(
            x[..., 2 * i : 2 * i + 2],
            kernel[..., 3 * i : 3 * i + 3],
            0,
            dilation,
        )
        for i in range(2)
    ]
    rows, columns = np.broadcast_to(strides, 2)
    expected = np.concatenate(parts, -1)[:, ::rows, ::columns]
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, atol=1e-5)
    shape = layer.compute_output_shape(convert(x, data_format).shape)
    assert shape == convert(expected, data_format).shape


def test_arguments_survive():
    config = DilatedConv2D(4, 3, 2, strides=2, groups=2).get_config()
    copy = DilatedConv2D.from_config(config)
    assert copy.get_config() == config
    assert (copy.dilation, copy.strides, copy.groups) == (2, (2, 2), 2)


def test_operations_do_not_depend_on_the_holes():
    layer = DilatedConv2D(6, 3, 2, data_format="channels_last")
    layer.build((1, 5, 6, 4))
    macs = layer.count_operations((1, 5, 6, 4))["macs"]
    assert macs == 5 * 6 * 9 * 4 * 6


def test_dilation_must_be_positive():
    with pytest.raises(ValueError, match="positive.*Received: dilation=0"):
        DilatedConv2D(4, 3, 0)


def test_bias_is_added_to_every_pixel():
    layer = DilatedConv2D(4, 3, 2, use_bias=True, bias_initializer="ones")
    y = ops.convert_to_numpy(layer(np.zeros((1, 5, 5, 2), "float32")))
    np.testing.assert_array_equal(y, 1)
