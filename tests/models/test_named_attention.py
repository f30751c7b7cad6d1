import pytest

from keras_epsanet import attention, layers
from keras_epsanet.attention import ECA, FCA, SE
from keras_epsanet.models.attention_slot import AttentionSlot, Place
from keras_epsanet.models.named_attention import (
    NAMED,
    NETWORKS,
    resolve_attention,
)

NAMES = """psa se cbam bam a2 abn gc triplet aa eca fca srm sa non_local pyconv
    sk split res2net simam coordinate ema""".split()
DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def made(name, stage, depth=50, size=(None, None), channels=256, block=1):
    place = Place(channels, stage, block, DEPTHS[depth], 1, size)
    return resolve_attention(name).make(place, "some")


# None of the paper's tables has them.
NAMELESS = {"GSoP", "PositionAttention", "ChannelAttention"}


def test_every_layer_of_the_package_has_a_name():
    assert [*NAMED] == NAMES
    found = {type(made(name, 3)) for name in NAMES}
    ours = {getattr(attention, x) for x in {*attention.__all__} - NAMELESS}
    assert found == ours | {layers.PSA}


@pytest.mark.parametrize(
    "depth, expected", [(50, [3, 5, 5, 7]), (101, [3, 3, 5, 7])]
)
def test_kernels_of_the_published_eca(depth, expected):
    found = [made("eca", i, depth).kernel_size for i in (1, 2, 3, 4)]
    assert found == expected
    place = Place(256, 1, 1, (1, 1))
    assert resolve_attention("eca").make(place, "some").kernel_size is None


@pytest.mark.parametrize(
    "size, expected",
    [
        ((None, None), [56, 28, 14, 7]),
        ((56, 56), [56] * 4),
        ((12, 12), [7] * 4),
        ((3, 3), [7] * 4),
    ],
)
def test_grid_of_frequencies(size, expected):
    found = [made("fca", stage, size=size).grid for stage in (1, 2, 3, 4)]
    assert found == expected


def test_augmented_convolutions_as_published():
    found = [made("aa", i, channels=64 * 2**i) for i in (1, 2, 3)]
    assert [layer.value_filters for layer in found] == [8, 24, 48]
    assert {layer.key_filters for layer in found} == {160}
    assert [tuple(layer.table_size) for layer in found] == [
        (56, 56),
        (28, 28),
        (14, 14),
    ]
    layer = made("aa", 2, size=(6, 9), channels=128)
    assert tuple(layer.table_size) == (6, 9)


def test_only_the_first_block_of_res2net_has_no_chain():
    assert not made("res2net", 1, block=1).chained
    assert made("res2net", 1, block=2).chained


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_has_the_slot_of_its_name(name):
    named = resolve_attention(name)
    layer = made(name, 3)
    if name in ("abn", "pyconv"):
        pytest.skip("its layers depend on the place")
    slot = resolve_attention(layer)
    assert (slot.slot, slot.name) == (named.slot, named.name)
    assert slot.places == named.places and slot.attention is layer


def test_places_are_those_of_the_papers():
    slots = {
        "output": {"bam", "a2", "non_local"},
        "convolution": {"psa", "aa", "pyconv"},
        "convolution_norm_relu": {"sk", "split", "res2net"},
        "after_convolution": {"simam"},
        "branch": {"abn"},
    }
    slots["residual"] = {*NAMES}.difference(*slots.values())
    places = {
        "bam": [(1, -1), (2, -1), (3, -1)],
        "a2": [(2, 2), (2, 4), (3, 2), (3, 4), (3, 6)],
        "non_local": [(3, -2)],
        "aa": [(2, None), (3, None), (4, None)],
    }
    for slot, names in slots.items():
        for name in names:
            found = resolve_attention(name)
            assert (found.slot, found.name) == (slot, name)
            assert found.places == places.get(name)


def test_pyramids_of_pyconv_by_stage():
    found = [made("pyconv", stage) for stage in (1, 2, 3, 4, 5)]
    assert [layer.kernel_sizes for layer in found[:4]] == [
        (3, 5, 7, 9),
        (3, 5, 7),
        (3, 5),
        (3,),
    ]
    groups = [(1, 4, 8, 16), (1, 4, 8), (1, 4), (1,)]
    assert [layer.groups for layer in found[:4]] == groups
    assert [layer.filters for layer in found[:4]] == [
        (64, 64, 64, 64),
        (64, 64, 128),
        (128, 128),
        (256,),
    ]
    assert found[4].kernel_sizes == (3,)  # Of further stages.


def test_layers_have_the_channels_and_classes_of_their_place():
    for name in ("psa", "sk", "split"):
        assert made(name, 2, channels=128).filters == 128
    assert made("abn", 3).classes == 1000
    assert made("fca", 5).grid == 7
    assert tuple(made("aa", 5).table_size) == (7, 7)


def test_keys_of_wide_augmented_convolutions_are_those_of_whole_heads():
    layer = made("aa", 3, channels=1024)
    assert (layer.key_filters, layer.value_filters) == (200, 96)


def test_what_published_networks_have_else():
    assert NETWORKS == {
        "pyconv": {"stem_pool": False, "downsampling": "max"},
        "sk": {
            "stackwise_num_filters": (128, 256, 512, 1024),
            "expansion": 2,
        },
        "split": {"stem_filters": (32, 32, 64), "downsampling": "average"},
        "res2net": {
            "stackwise_num_filters": (104, 208, 416, 832),
            "expansion": 256 / 104,
        },
    }


def test_others_stand_before_the_addition():
    for given in (lambda channels, stage: SE(), layers.SEWeight()):
        slot = resolve_attention(given)
        assert (slot.slot, slot.name) == ("residual", "attention")
    slot = AttentionSlot(ECA(), "output")
    assert resolve_attention(slot) is slot
    assert resolve_attention(None) is None


@pytest.mark.parametrize(
    "given, message",
    [
        ("fcc", 'Is "fca" meant'),
        (FCA, r"A layer is made by FCA\(…\)"),
        (3, "Received: attention=3"),
    ],
)
def test_others_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        resolve_attention(given)
