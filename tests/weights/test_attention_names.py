import collections

import pytest

from keras_epsanet import ResNet
from keras_epsanet.attention import SE
from keras_epsanet.models.named_attention import NAMED, NETWORKS
from keras_epsanet.weights.attention_names import PLAIN, PUBLISHED, Published
from keras_epsanet.weights.entries import COUNTER
from keras_epsanet.weights.network_entries import network_entries
from keras_epsanet.weights.state_contents import common_names

DIALECTS = [
    (name, i)
    for name, published in PUBLISHED.items()
    for i in range(len(published.dialects))
]


def small(attention):
    """A network whose stages have a first and another block each."""
    arguments = {
        "stackwise_num_blocks": (2, 2),
        "stackwise_num_filters": (64, 128),
        "attention": attention,
        "input_shape": (64, 64, 3),
        "classes": 3,
    }
    named = attention if isinstance(attention, str) else None
    special = NETWORKS.get(named, {}).items()
    return ResNet(
        **arguments | {k: v for k, v in special if not k.startswith("stackw")}
    )


def test_the_names_are_those_that_networks_take():
    assert set(PUBLISHED) <= set(NAMED)


@pytest.mark.parametrize("name, number", DIALECTS)
def test_every_weight_has_one_name(name, number, monkeypatch):
    published = PUBLISHED[name]
    only = Published(published.layer, published.dialects[number : number + 1])
    monkeypatch.setitem(PUBLISHED, name, only)
    model = small(name)
    assert any(isinstance(x, published.layer) for x in model.layers)
    entries = network_entries(model)
    named = collections.Counter(
        id(entry.variable) for entry in entries if entry.variable is not None
    )
    assert set(named) == {id(weight) for weight in model.weights}
    assert set(named.values()) == {1}
    keys = [entry.key for entry in entries]
    assert len(set(keys)) == len(keys)


# The attention of each network in the file of published names.
GOLDEN = {
    name: name
    for name in """se cbam bam eca fca sa triplet srm pyconv sk split res2net
    abn""".split()
}
GOLDEN |= {
    f"se {publisher}": SE(use_bias=True)
    for publisher in ("PytorchInsight", "timm", "SRM", "MMPretrain")
}
GOLDEN["triplet root"] = "triplet"
# Of further blocks and stages, or in other numbers in smaller networks.
OTHERS = ("layer1.1", "layer1.2", "layer2", "layer3", "layer4", "att_layer")
OTHERS += ("bam2", "bam3")


def test_every_attention_with_public_weights_is_there():
    names = {x.partition(" ")[0] for x in GOLDEN}
    assert PUBLISHED.keys() == names | {"psa", "gc"}


@pytest.mark.parametrize("network", GOLDEN)
def test_the_names_are_those_of_the_publishers(network, published_shapes):
    state = common_names(published_shapes(network))
    entries = network_entries(small(GOLDEN[network]), state)
    found, wanted = (
        {x for x in keys if not x.startswith(OTHERS)}
        for keys in ((x.key for x in entries), state)
    )
    assert found == {x for x in wanted if not x.endswith(COUNTER)}


def test_publishers_of_one_attention_have_other_names():
    for published in PUBLISHED.values():
        names = [str(x.names) for x in published.dialects]
        assert len(set(names)) == len(names)


def test_networks_without_attention_have_torchvisions_names(resnet_shapes):
    assert PLAIN.names == {}
    model = ResNet((3, 4, 6, 3), (64, 128, 256, 512), input_shape=(32, 32, 3))
    shapes = {
        key: tuple(shape)
        for key, shape in resnet_shapes["resnet50"].items()
        if not key.endswith("num_batches_tracked")
    }
    entries = network_entries(model)
    assert {entry.key: entry.torch_shape for entry in entries} == shapes
