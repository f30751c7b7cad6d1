import keras
import pytest

from keras_epsanet import AttentionSlot, ResNet
from keras_epsanet.attention import SE
from keras_epsanet.models.attention_slot import Place


def place(stage=1, block=1, strides=1):
    return Place(32, stage, block, (1, 2, 3), strides)


@pytest.mark.parametrize(
    "places, expected",
    [
        (None, {(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (3, 3)}),
        ([2], {(2, 1), (2, 2)}),
        ([(3, -1), (1, 1)], {(3, 3), (1, 1)}),
        ([(3, -2), 1], {(3, 2), (1, 1)}),
        ([], set()),
    ],
)
def test_places(places, expected):
    slot = AttentionSlot(SE(), places=places)
    blocks = [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (3, 3)]
    assert {x for x in blocks if slot.holds(place(*x))} == expected


def test_a_copy_has_the_format_and_the_dtype_of_the_network():
    layer = SE(reduction=4, dtype="float32", data_format="channels_last")
    copy = AttentionSlot(layer).make(
        place(), "some", data_format="channels_first", dtype="mixed_bfloat16"
    )
    assert copy is not layer and copy.name == "some" and copy.reduction == 4
    assert copy.data_format == "channels_first"
    assert copy.dtype_policy.name == "mixed_bfloat16"
    copy = AttentionSlot(layer).make(place(), "some", dtype=None)
    assert copy.dtype_policy.name == "float32"


def test_in_place_of_a_convolution_it_has_its_filters_and_strides():
    layer = keras.layers.Conv2D(8, 5, padding="same")
    slot = AttentionSlot(layer, "convolution")
    copy = slot.make(place(strides=2), "some")
    assert (copy.filters, copy.strides) == (32, (2, 2))

    def half(channels, stage):
        return keras.layers.Conv2D(channels // 2, 5, padding="same")

    copy = AttentionSlot(half, "convolution").make(place(strides=2), "some")
    assert (copy.filters, copy.strides) == (16, (2, 2))
    # Behind one it has neither.
    copy = AttentionSlot(layer).make(place(strides=2), "some")
    assert (copy.filters, copy.strides) == (8, (1, 1))


def test_a_function_gets_channels_and_stage():
    received = []

    def make(*arguments):
        received.append(arguments)
        return SE(reduction=2)

    ResNet((1, 2), (16, 32), make, input_shape=(32, 32, 3), classes=2)
    assert received == [(64, 1), (128, 2), (128, 2)]


@pytest.mark.parametrize("slot", ["convolution", "after_convolution"])
def test_a_function_gets_the_channels_of_its_slot(slot):
    received = []

    def make(channels, stage):
        received.append(channels)
        return keras.layers.Conv2D(channels, 1)

    attention = AttentionSlot(make, slot)
    ResNet((1, 1), (16, 32), attention, input_shape=(32, 32, 3), classes=2)
    assert received == [16, 32]


def test_it_survives_its_config():
    slot = AttentionSlot(SE(reduction=8), "output", [2, (3, -1)], "gate")
    data = keras.saving.serialize_keras_object(slot)
    copy = keras.saving.deserialize_keras_object(data)
    assert copy.get_config() == slot.get_config()
    assert copy.attention.reduction == 8
    assert copy.holds(place(3, 3)) and not copy.holds(place(3, 2))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"attention": SE(), "slot": "behind"}, "`slot` must be one of"),
        ({"attention": "se"}, "`attention` must be a layer, or a function"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        AttentionSlot(**arguments)


def test_a_function_that_returns_no_layer_is_refused():
    slot = AttentionSlot(lambda channels, stage: stage)
    with pytest.raises(ValueError, match="must return a Keras layer.*stage 3"):
        slot.make(place(3), "some")


def test_a_place_knows_little_unless_told():
    found = Place(32, 1, 1, (1,))
    assert (found.strides, found.size, found.classes) == (1, (None, None), 1000)


def test_a_slot_is_behind_the_last_norm_unless_told_otherwise():
    slot = AttentionSlot(SE())
    assert (slot.slot, slot.places, slot.name) == (
        "residual",
        None,
        "attention",
    )


def test_it_replaces_the_convolution_with_its_norm_too():
    layer = keras.layers.Conv2D(8, 5, padding="same")
    slot = AttentionSlot(layer, "convolution_norm_relu")
    copy = slot.make(place(strides=2), "some")
    assert (copy.filters, copy.strides) == (32, (2, 2))


def test_what_a_layer_does_not_take_is_left_out():
    copy = AttentionSlot(keras.layers.ReLU()).make(
        place(), "some", data_format="channels_first"
    )
    assert copy.name == "some" and "data_format" not in copy.get_config()
