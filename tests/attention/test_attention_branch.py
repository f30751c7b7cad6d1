import numpy as np
import pytest
from equations import attention_branch, values
from keras import ops
from running import FORMATS, compiled, convert, revert

from keras_epsanet.attention import AttentionBranch


@pytest.mark.parametrize("data_format", FORMATS)
def test_equation(draw_weights, float64, size, dtype, data_format):
    images = np.random.default_rng(0).standard_normal((2, *size, 8))
    layer = AttentionBranch(5, dtype=dtype, data_format=data_format)
    x = convert(images.astype(dtype), data_format)
    layer.build(x.shape)
    draw_weights(layer)
    bn, w1, bn1, k, bn_map, w2 = values(
        layer.norm,
        layer.class_conv.kernel,
        layer.norm_classes,
        layer.map_conv.kernel,
        layer.norm_map,
        layer.logit_conv.kernel,
    )
    x64 = images.astype(dtype).astype("float64")
    expected = attention_branch(x64, bn, w1[0, 0], bn1, k, bn_map, w2[0, 0])
    attention, logits = compiled(layer)(x)
    results = revert(attention, data_format), ops.convert_to_numpy(logits)
    tolerance = {"float32": 1e-6, "float64": 1e-12}[dtype]
    for result, wanted in zip(results, expected, strict=True):
        assert result.shape == wanted.shape
        assert np.abs(result - wanted).max() <= tolerance * np.abs(wanted).max()


def test_the_published_number_of_parameters():
    layer = AttentionBranch(1000)
    layer.build((None, 14, 14, 2048))
    trainable = sum(np.prod(w.shape) for w in layer.trainable_weights)
    assert trainable == 3_063_098


def test_arguments_and_training(check_contract):
    check_contract(AttentionBranch)
