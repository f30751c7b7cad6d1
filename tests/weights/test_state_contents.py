import numpy as np
import pytest

from keras_epsanet import ResNet, load_torch_weights
from keras_epsanet.attention import SE
from keras_epsanet.weights.network_entries import network_entries
from keras_epsanet.weights.state_contents import (
    common_names,
    why_another_network,
)


def tiny(attention=None):
    return ResNet(
        (1,), (16,), attention=attention, input_shape=(32, 32, 3), classes=3
    )


def state_of(model):
    return {
        entry.key: np.zeros(entry.torch_shape, "float32")
        for entry in network_entries(model)
    }


def test_names_of_a_network_that_stands_alone_stay():
    state = {"conv1.weight": 1, "head.fc.weight": 2}
    assert common_names(state) is state


def test_what_stands_around_a_backbone_is_taken_off():
    state = {
        "backbone.conv1.weight": 1,
        "head.fc.bias": 2,
        "neck.lateral_convs.0.conv.weight": 3,
        "roi_head.bbox_head.fc_cls.weight": 4,
        "rpn_head.rpn_conv.bias": 5,
    }
    assert common_names(state) == {"conv1.weight": 1, "fc.bias": 2}


@pytest.mark.parametrize(
    "attention, other, message",
    [
        (None, "eca", 'with attention="eca", and the model is one without'),
        ("eca", None, "without attention.*attention=.eca.*inherit_weights"),
        ("se", "cbam", 'with attention="cbam".*is one with attention="se"'),
        (SE(use_bias=True), "se", r"has no biases.*has some.*SE\(use_bias=F"),
        ("se", SE(use_bias=True), r"has biases.*has none.*SE\(use_bias=True"),
    ],
)
def test_another_network_is_called_by_its_name(attention, other, message):
    model, state = tiny(attention), state_of(tiny(other))
    before = model.get_weights()
    with pytest.raises(ValueError, match=f"left as it was.*{message}"):
        load_torch_weights(model, state)
    for weight, array in zip(model.get_weights(), before):
        np.testing.assert_array_equal(weight, array)


@pytest.mark.parametrize(
    "name, message",
    [
        ("layer1.0.conv2g.weight", "whose first path has no groups"),
        ("last_linear.weight", "stride is in the first 1×1"),
        ("conv1.0.weight", "three convolutions.*resnet50d or Res2Net v1b"),
    ],
)
def test_networks_of_another_frame_are_told_apart(name, message):
    state = {**state_of(tiny()), name: np.zeros(1)}
    with pytest.raises(ValueError, match=message):
        load_torch_weights(tiny(), state)


def test_tables_for_images_of_another_size_are_named():
    state = state_of(tiny("fca"))
    model = ResNet((1,), (16,), attention="fca", input_shape=(128, 128, 3))
    message = r"tables of \(64, 7, 7\), that of the model of \(64, 28, 28\)"
    with pytest.raises(ValueError, match=message):
        load_torch_weights(model, state)


@pytest.mark.parametrize("wrong", ["missing", "unexpected"])
def test_one_bias_is_no_other_attention(wrong):
    model = tiny(SE(use_bias=wrong == "missing"))
    state = state_of(model)
    key = "layer1.0.se.fc.0.bias"
    if wrong == "missing":
        del state[key]
        model = tiny(SE(use_bias=True))
    else:
        model = ResNet(
            (2,), (16,), attention="se", input_shape=(32, 32, 3), classes=3
        )
        state = {**state_of(model), key: np.zeros(1)}
    with pytest.raises(ValueError, match=f"{wrong}: {key}$"):
        load_torch_weights(model, state)


def test_nothing_is_said_of_the_same_network():
    model = tiny("eca")
    state = state_of(model)
    del state["layer1.0.conv1.weight"]
    assert why_another_network(model, state) == ""
    with pytest.raises(ValueError, match="missing: layer1.0.conv1.weight$"):
        load_torch_weights(model, state)
    assert why_another_network(model, {"something": np.zeros(1)}) == ""
