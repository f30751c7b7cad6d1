"""The names that timm gives to networks, and those of their weights."""

import pytest

from keras_epsanet import EPSANet50Large, ResNet, ResNet50
from keras_epsanet.attention import ECA, SE
from keras_epsanet.hub import timm_networks
from keras_epsanet.models.attention_slot import Place
from keras_epsanet.models.epsanet import pyramid_attention
from keras_epsanet.weights.network_entries import network_entries

# In the file of the shapes of published networks; timm's own names.
IN_GOLDEN = {
    "seresnet50": "se timm",
    "skresnext50_32x4d": "sk",
    "resnest50d": "split",
    "res2net50_26w_4s": "res2net",
}


def shapes(network, **kwargs):
    model = network.build(**kwargs)
    entries = network_entries(model, dialect=network.dialect)
    return {entry.key: entry.torch_shape for entry in entries}


def without_counters(expected):
    return {
        key: tuple(shape)
        for key, shape in expected.items()
        if not key.endswith("num_batches_tracked")
    }


@pytest.mark.parametrize(
    "name", ["resnet50", "resnext50_32x4d", "resnext101_32x4d"]
)
def test_resnets_have_the_names_and_shapes_of_timm(name, resnet_shapes):
    expected = without_counters(resnet_shapes[name])
    assert shapes(timm_networks.NETWORKS[name]) == expected


@pytest.mark.parametrize("name", IN_GOLDEN)
def test_attention_has_the_names_and_shapes_of_timm(name, published_shapes):
    expected = without_counters(published_shapes(IN_GOLDEN[name]))
    assert shapes(timm_networks.NETWORKS[name]) == expected


def test_the_authors_names_are_those_of_epsanets(golden_state_dict):
    for name in ("epsanet50_small", "epsanet50_large"):
        expected = golden_state_dict(name)
        expected = without_counters({k: v.shape for k, v in expected.items()})
        assert shapes(timm_networks.NETWORKS[name]) == expected


@pytest.mark.parametrize(
    "name, blocks, filters, expansion",
    [
        ("resnet26", (2, 2, 2, 2), 64, 4),
        ("resnet152", (3, 8, 36, 3), 64, 4),
        ("resnet50", (3, 4, 6, 3), 64, 4),
        ("resnet101", (3, 4, 23, 3), 64, 4),
        ("wide_resnet50_2", (3, 4, 6, 3), 128, 2),
        ("wide_resnet101_2", (3, 4, 23, 3), 128, 2),
        ("resnext50_32x4d", (3, 4, 6, 3), 128, 2),
        ("resnext101_32x4d", (3, 4, 23, 3), 128, 2),
        ("resnext101_32x8d", (3, 4, 23, 3), 256, 1),
        ("resnext101_64x4d", (3, 4, 23, 3), 256, 1),
        ("seresnet50", (3, 4, 6, 3), 64, 4),
        ("seresnet101", (3, 4, 23, 3), 64, 4),
        ("seresnet152", (3, 8, 36, 3), 64, 4),
        ("skresnext50_32x4d", (3, 4, 6, 3), 128, 2),
        ("resnest50d", (3, 4, 6, 3), 64, 4),
        ("resnest101e", (3, 4, 23, 3), 64, 4),
        ("res2net50_26w_4s", (3, 4, 6, 3), 104, 256 / 104),
        ("res2net101_26w_4s", (3, 4, 23, 3), 104, 256 / 104),
    ],
)
def test_frames_are_as_wide_and_deep_as_they_say(
    name, blocks, filters, expansion
):
    frame = timm_networks.NETWORKS[name].frame
    assert frame["stackwise_num_blocks"] == blocks
    assert frame["stackwise_num_filters"][0] == filters
    assert frame["stackwise_num_filters"][3] == 8 * filters
    assert frame["expansion"] == expansion


def test_attention_is_what_the_names_say():
    networks = timm_networks.NETWORKS
    place = Place(256, 1, 1, (1,))
    groups = {
        name: networks[name].attention.make(place, "psa").groups
        for name in networks
        if name.startswith("resnext")
    }
    assert groups == {
        "resnext50_32x4d": (32,),
        "resnext101_32x4d": (32,),
        "resnext101_32x8d": (32,),
        "resnext101_64x4d": (64,),
    }
    for name in ("resnest50d", "resnest101e"):
        assert networks[name].attention == "split"
    assert networks["skresnext50_32x4d"].attention == "sk"
    assert networks["res2net101_26w_4s"].attention == "res2net"
    for name in ("resnet26", "wide_resnet101_2"):
        assert networks[name].attention is None
    for depth in (50, 101, 152):
        assert networks[f"seresnet{depth}"].attention.use_bias
    stems = [
        networks[name].frame["stem_filters"]
        for name in ("resnest50d", "resnest101e")
    ]
    assert stems == [(32, 32, 64), (64, 64, 128)]


@pytest.mark.parametrize(
    "make, name",
    [
        (ResNet50, "resnet50"),
        (lambda **x: ResNet50(SE(use_bias=True), **x), "seresnet50"),
        (lambda **x: ResNet50("split", **x), "resnest50d"),
        (EPSANet50Large, "epsanet50_large"),
        (timm_networks.NETWORKS["resnext50_32x4d"].build, "resnext50_32x4d"),
        # timm has none of these.
        (lambda **x: ResNet50("se", **x), None),
        (lambda **x: ResNet50(ECA(3), **x), None),
        (lambda **x: ResNet((3, 4, 6, 2), (64, 128, 256, 512), **x), None),
    ],
)
def test_a_network_is_found_by_its_layers(make, name):
    model = make(input_shape=(64, 64, 3), classes=2, include_preprocessing=True)
    assert timm_networks.architecture_of(model) == name


def test_one_scale_is_that_of_its_groups():
    model = ResNet(
        **timm_networks.NETWORKS["resnext50_32x4d"].frame,
        attention=pyramid_attention((3,), (16,)),
        input_shape=(64, 64, 3),
    )
    assert timm_networks.architecture_of(model) is None
