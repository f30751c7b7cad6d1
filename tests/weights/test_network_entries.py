import numpy as np
import pytest
from keras import ops

from keras_epsanet import EPSANet50Small, ResNet, load_torch_weights
from keras_epsanet.attention import SE
from keras_epsanet.weights.attention_names import PUBLISHED
from keras_epsanet.weights.layer_names import network_layers
from keras_epsanet.weights.network_entries import (
    attention_layers,
    network_entries,
)


def test_the_published_names_of_the_default_model(golden_state_dict):
    entries = network_entries(EPSANet50Small(include_top=False))
    expected = golden_state_dict("epsanet50_small")
    shapes = {
        key: array.shape
        for key, array in expected.items()
        if not key.startswith("fc.") and not key.endswith("_tracked")
    }
    assert {entry.key: entry.torch_shape for entry in entries} == shapes


@pytest.mark.parametrize("attention", [None, "eca", "res2net"])
def test_poolings_that_no_published_network_has_are_refused(attention):
    model = ResNet(
        (1, 1),
        (64, 128),
        attention=attention,
        downsampling="average",
        stem_filters=(8, 8, 16),
        input_shape=(32, 32, 3),
    )
    with pytest.raises(ValueError, match="Only ResNeSt has average.*Received"):
        network_entries(model)


def keys_of(attention=None, **kwargs):
    model = ResNet(
        (1, 1),
        (64, 64),
        attention,
        input_shape=(64, 64, 3),
        classes=2,
        **kwargs,
    )
    entries = network_entries(model)
    return [x.key.removesuffix(".weight") for x in entries if "weight" in x.key]


BLOCK = ["conv1", "bn1", "conv2", "bn2", "conv3", "bn3"]
FIRST = [f"layer1.0.{name}" for name in BLOCK]


def test_names_of_a_plain_network():
    found = keys_of()
    for stage in (1, 2):
        expected = {f"layer{stage}.0.{name}" for name in BLOCK}
        expected |= {f"layer{stage}.0.downsample.{i}" for i in (0, 1)}
        assert {x for x in found if f"layer{stage}" in x} == expected
    assert {x for x in found if "layer" not in x} == {"conv1", "bn1", "fc"}


def test_names_behind_a_pooling_in_the_shortcut():
    found = keys_of(downsampling="max")
    # Without strides there is no pooling.
    assert [x for x in found if "layer1.0.down" in x] == [
        "layer1.0.downsample.0",
        "layer1.0.downsample.1",
    ]
    assert [x for x in found if "layer2.0.down" in x] == [
        "layer2.0.downsample.1",
        "layer2.0.downsample.2",
    ]
    found = keys_of("split", downsampling="average", stem_filters=(8, 8, 16))
    # A pooling of averages does nothing there, and has its number.
    for stage in (1, 2):
        numbers = [x[-1] for x in found if f"layer{stage}.0.down" in x]
        assert numbers == ["1", "2"]


def test_names_of_a_stem_of_several_convolutions():
    found = keys_of(stem_filters=(8, 8, 16))
    assert [x for x in found if "layer" not in x] == [
        *("conv1.0", "conv1.1", "conv1.3", "conv1.4", "conv1.6", "bn1"),
        "fc",
    ]


def test_names_of_a_branch():
    found = keys_of("abn")
    expected = {f"att_layer2.0.{name}" for name in BLOCK}
    # The shortcut has as many channels, and no strides.
    found = {x for x in found if x.startswith("att_layer")}
    assert found == expected


def test_the_attention_is_found_by_stage_and_block():
    model = ResNet((1, 2), (64, 64), "bam", input_shape=(64, 64, 3), classes=2)
    found = attention_layers(network_layers(model))
    assert {place: x.name for place, x in found.items()} == {
        (1, 0): "conv2_block1_bam",
        (2, 1): "conv3_block2_bam",
    }
    model = ResNet((1, 1), (64, 64), "abn", input_shape=(64, 64, 3))
    found = attention_layers(network_layers(model))
    assert {place: x.name for place, x in found.items()} == {
        (2, 0): "conv3_abn"
    }


def test_the_names_in_a_state_decide_between_publishers():
    model = ResNet((1,), (64,), SE(use_bias=True), input_shape=(32, 32, 3))
    for dialect in PUBLISHED["se"].dialects:
        own = {x.key for x in network_entries(model, dialect=dialect)}
        found = {x.key for x in network_entries(model, state=own)}
        assert found == own
    first = {x.key for x in network_entries(model)}
    assert first == {
        x.key
        for x in network_entries(model, dialect=PUBLISHED["se"].dialects[0])
    }


def test_attention_without_published_weights_is_refused():
    model = ResNet((1,), (64,), attention="simam", input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match="psa, se, cbam.*a network with SimAM"):
        network_entries(model)


def test_a_resnet_without_attention_computes_what_pytorch_computes(
    torch_resnet,
):
    torch = pytest.importorskip("torch")
    source = torch_resnet((2, 1), (16, 32), classes=5)
    generator = torch.Generator().manual_seed(0)
    for key, tensor in source.state_dict().items():
        if key.endswith(("running_mean", "running_var")):
            tensor.uniform_(0.5, 1.5, generator=generator)
    model = ResNet(
        (2, 1),
        (16, 32),
        input_shape=(40, 56, 3),
        classes=5,
        classifier_activation=None,
    )
    load_torch_weights(model, source.state_dict())
    images = np.random.default_rng(0).standard_normal((2, 40, 56, 3))
    images = images.astype("float32")
    with torch.no_grad():
        expected = source(torch.from_numpy(images.transpose(0, 3, 1, 2)))
    logits = ops.convert_to_numpy(model(images))
    np.testing.assert_allclose(
        logits, expected.numpy(), rtol=0, atol=1e-5 * np.abs(logits).max()
    )
