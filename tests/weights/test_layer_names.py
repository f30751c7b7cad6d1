import keras
import pytest

from keras_epsanet import ResNet, ResNet50
from keras_epsanet.layers import GroupedConv2D
from keras_epsanet.weights.layer_names import (
    BLOCK,
    BRANCH,
    BRANCH_BLOCK,
    STEM,
    find_prefixes,
    network_layers,
)

FIRST = "conv2_block1_1_conv"


def model_of(*names, kind=GroupedConv2D):
    """A model of layers with these names, one behind the other.

    The first convolutions of networks are of a class, all others ReLUs.
    """
    x = image = keras.Input((4, 4, 2))
    for name in names:
        first = name.endswith(FIRST)
        x = (kind(2, 1, name=name) if first else keras.layers.ReLU(name=name))(
            x
        )
    return keras.Model(image, x)


@pytest.mark.parametrize(
    "name, parts",
    [
        ("conv2_block1_psa", ("2", "1", "psa")),
        ("conv2_block1_non_local", ("2", "1", "non_local")),
        ("conv2_block1_attention", ("2", "1", "attention")),
        ("conv4_block23_0_conv", ("4", "23", "0_conv")),
        ("conv12_block3_1_conv", ("12", "3", "1_conv")),
        ("conv2_block1_2_conv", ("2", "1", "2_conv")),
        ("conv2_block3_3_conv", ("2", "3", "3_conv")),
        ("conv2_block1_0_bn", ("2", "1", "0_bn")),
        ("conv2_block1_2_bn", ("2", "1", "2_bn")),
        ("conv2_block1_3_bn", ("2", "1", "3_bn")),
        ("conv2_block1_outlook", ("2", "1", "outlook")),
        ("conv2_block1_4_bn", None),
        ("conv2_block1_1_relu", None),
        ("conv2_block1_0_pool", None),
        ("conv2_block1_add", None),
        ("conv2_block1_out", None),
        ("conv_block1_psa", None),
        ("conv5_branch_block1_1_conv", None),
    ],
)
def test_names_in_a_block(name, parts):
    match = BLOCK.fullmatch(name)
    assert (match and match.groups()) == parts


@pytest.mark.parametrize(
    "pattern, name, parts",
    [
        (STEM, "conv1_conv", (None, "conv")),
        (STEM, "conv1_3_bn", ("3", "bn")),
        (STEM, "conv1_relu", None),
        (BRANCH_BLOCK, "conv5_branch_block3_2_bn", ("5", "3", "2_bn")),
        (BRANCH_BLOCK, "conv5_branch_block3_out", None),
        (BRANCH, "conv5_abn", ("5", "abn")),
        (BRANCH, "conv5_branch_add", None),
        (BRANCH, "conv5_block1_out", None),
        (BRANCH, "conv1_bn", None),
    ],
)
def test_names_outside_of_blocks(pattern, name, parts):
    match = pattern.fullmatch(name)
    assert (match and match.groups()) == parts


@pytest.mark.parametrize("prefix", ["", "left_"])
def test_layers_with_weights_are_found_by_their_own_names(prefix):
    own = ["conv1_conv", "conv1_bn", FIRST, "conv2_block1_psa"]
    own += ["conv2_block1_2_bn", "predictions"]
    others = ["conv1_relu", "conv2_block1_out", "conv1_conv_2", "other"]
    others.append("conv6_head")
    model = model_of("rescaling", *(prefix + name for name in own + others))
    layers = network_layers(model)
    assert list(layers) == own
    for name, layer in layers.items():
        assert layer is model.get_layer(prefix + name)


@pytest.mark.parametrize(
    "attention", [None, "psa", "bam", "split", "sk", "abn", "eca"]
)
def test_all_layers_with_weights_are_found(attention):
    arguments = {"stackwise_num_blocks": (2, 1, 1)}
    arguments["stackwise_num_filters"] = (64, 128, 256)
    if attention == "split":
        arguments |= {"stem_filters": (8, 8, 16), "downsampling": "average"}
    model = ResNet(
        **arguments, attention=attention, input_shape=(32, 32, 3), classes=3
    )
    found = {id(w) for x in network_layers(model).values() for w in x.weights}
    assert found == {id(weight) for weight in model.weights}


def test_layers_of_another_prefix_are_not_of_the_network():
    model = model_of("a_conv1_conv", "conv1_bn", f"a_{FIRST}", "conv2_block1_x")
    assert list(network_layers(model)) == ["conv1_conv", FIRST]


def test_prefixes_stand_before_the_first_convolution():
    assert find_prefixes(model_of("conv2_block2_1_conv")) == []
    assert find_prefixes(model_of("conv2_block2_1_conv", FIRST)) == [""]
    model = model_of(f"b_{FIRST}", f"a_{FIRST}", f"{FIRST}_norm")
    assert find_prefixes(model) == ["b_", "a_"]
    with pytest.raises(ValueError, match=r"2 networks.*\['b_', 'a_'\]"):
        network_layers(model)
    with pytest.raises(ValueError, match="contains it as a layer.*'other'"):
        network_layers(model_of("other"))


def test_other_networks_of_the_same_layer_names_are_none_of_ours():
    assert not find_prefixes(model_of(FIRST, kind=keras.layers.Conv2D))
    theirs = keras.applications.ResNet50(
        weights=None, input_shape=(32, 32, 3), include_top=False
    )
    assert theirs.get_layer(FIRST) and not find_prefixes(theirs)
    ours = ResNet50(input_shape=(32, 32, 3), include_top=False)
    assert find_prefixes(ours) == [""]
