"""What attention weighs, as numbers by layer and batch."""

import numpy as np
import pytest

from keras_epsanet.explain.attention_values import (
    Attention,
    LayerAttention,
    layers_with,
    merge,
)


def test_a_stage_has_the_mean_of_its_blocks_and_channels(weighed):
    first, second = weighed.layers
    found = weighed._replace(layers=[first, second._replace(stage="conv2")])
    stages = found.scales_by_stage()
    expected = [[0.45, 0.55]] * 2 + [[0.35, 0.65]] * 2
    np.testing.assert_allclose(stages["conv2"], expected, atol=1e-6)
    assert list(stages) == ["conv2"]


def test_layers_are_those_that_weigh_it_in_their_order(weighed):
    layer = LayerAttention("se", "SE", "conv4", channels=np.ones((4, 8)))
    found = weighed._replace(layers=[*weighed.layers, layer])
    assert layers_with(found, "scales") == weighed.layers
    assert layers_with(found, "channels", "none") == [layer]
    assert layers_with(found, "pixels") == []
    message = r"^no pixels. Received: layers of \['PSA', 'SE'\]$"
    with pytest.raises(ValueError, match=message):
        layers_with(found, "pixels", "no pixels")


def test_batches_are_one_after_the_other_without_their_maps(weighed):
    gate = LayerAttention(
        "se", "SE", "conv4", channels=np.eye(4), pixels=np.ones((4, 2, 2))
    )
    first = weighed._replace(layers=[*weighed.layers, gate])
    last = Attention(
        [x._replace(scales=x.scales[:1] / 2) for x in weighed.layers]
        + [gate._replace(channels=np.full((1, 4), 7))],
        np.array([2]),
        weighed.class_names,
    )
    found = merge(iter([first, last]))
    assert found.predicted.tolist() == [0, 0, 1, 1, 2]
    assert [x.name for x in found.layers] == [x.name for x in first.layers]
    for layer, one, other in zip(found.layers, first.layers, last.layers):
        assert layer.scale_maps is layer.pixels is None
        for key in ("scales", "channels"):
            parts = [getattr(x, key) for x in (one, other)]
            if parts[0] is None:
                assert getattr(layer, key) is None
            else:
                expected = np.concatenate(parts)
                np.testing.assert_array_equal(getattr(layer, key), expected)
    # Of detectors, which predict no class.
    parts = [x._replace(predicted=None) for x in (first, last)]
    assert merge(parts).predicted is None
