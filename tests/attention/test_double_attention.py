import numpy as np
from equations import a2, values
from keras import ops

from keras_epsanet.attention import DoubleAttention


def equation(x, layer):
    convs = (layer.feature_conv, layer.gather_conv)
    convs += (layer.distribute_conv, layer.output_conv)
    weights = []
    for conv in convs:
        kernel, bias = values(conv.kernel, conv.bias)
        weights += [kernel[0, 0], bias]
    return a2(x, *weights)


def test_equation(check_equation, size, dtype):
    check_equation(
        lambda **kwargs: DoubleAttention(6, 4, **kwargs),
        equation,
        (2, *size, 16),
        dtype,
    )


def test_the_inner_sizes_are_half_of_the_channels():
    layer = DoubleAttention()
    layer.build((None, 14, 14, 1024))
    assert layer.feature_conv.filters == layer.gather_conv.filters == 512
    assert layer.count_params() == 2 * 1024**2 + 2.5 * 1024


def test_a_single_descriptor_is_taken_as_it_is(draw_weights):
    layer = DoubleAttention(4, 1, data_format="channels_last")
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 8))
    layer.build(x.shape)
    draw_weights(layer)
    y = ops.convert_to_numpy(layer(x.astype("float32")))
    np.testing.assert_allclose(y, equation(x, layer), atol=1e-5)


def test_arguments_and_training(check_contract):
    check_contract(DoubleAttention, filters=None, descriptors=None)
