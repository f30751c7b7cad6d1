import keras
import pytest

from keras_epsanet.weights.layer_names import (
    BLOCK,
    find_prefixes,
    network_layers,
)


def model_of(*names):
    """A model of layers with these names, one behind the other."""
    x = image = keras.Input((2,))
    for name in names:
        x = keras.layers.ReLU(name=name)(x)
    return keras.Model(image, x)


@pytest.mark.parametrize(
    "name, parts",
    [
        ("conv2_block1_psa", ("2", "1", "psa")),
        ("conv4_block23_0_conv", ("4", "23", "0_conv")),
        ("conv12_block3_1_conv", ("12", "3", "1_conv")),
        ("conv2_block3_3_conv", ("2", "3", "3_conv")),
        ("conv2_block1_0_bn", ("2", "1", "0_bn")),
        ("conv2_block1_2_bn", ("2", "1", "2_bn")),
        ("conv2_block1_3_bn", ("2", "1", "3_bn")),
        ("conv2_block1_2_conv", None),  # That is the PSA.
        ("conv2_block1_4_bn", None),
        ("conv2_block1_1_relu", None),
        ("conv2_block1_out", None),
        ("conv_block1_psa", None),
    ],
)
def test_names_in_a_block(name, parts):
    match = BLOCK.fullmatch(name)
    assert (match and match.groups()) == parts


@pytest.mark.parametrize("prefix", ["", "left_"])
def test_layers_with_weights_are_found_by_their_own_names(prefix):
    own = ["conv1_conv", "conv1_bn", "conv2_block1_psa", "conv2_block1_2_bn"]
    own += ["conv1_2_conv", "conv1_2_bn", "predictions"]
    others = ["conv1_relu", "conv2_block1_out", "conv1_conv_2", "other"]
    model = model_of("rescaling", *(prefix + name for name in own + others))
    layers = network_layers(model)
    assert list(layers) == own
    for name, layer in layers.items():
        assert layer is model.get_layer(prefix + name)


def test_layers_of_another_prefix_are_not_of_the_network():
    model = model_of("a_conv1_conv", "conv1_bn", "a_conv2_block1_psa")
    assert list(network_layers(model)) == ["conv1_conv", "conv2_block1_psa"]


def test_prefixes_stand_before_the_first_psa():
    first, second = "conv2_block1_psa", "conv2_block2_psa"
    assert find_prefixes(model_of(second)) == []
    assert find_prefixes(model_of(second, first)) == [""]
    model = model_of(f"b_{first}", f"a_{first}", f"{first}_norm")
    assert find_prefixes(model) == ["b_", "a_"]
    with pytest.raises(ValueError, match=r"2 networks.*\['b_', 'a_'\]"):
        network_layers(model)
    with pytest.raises(ValueError, match="contains it as a layer.*'other'"):
        network_layers(model_of("other"))
