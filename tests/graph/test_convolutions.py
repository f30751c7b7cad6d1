import keras
import pytest
from keras import layers

from keras_epsanet.graph.convolutions import choose, find_convolutions
from keras_epsanet.layers import PSA, GroupedConv2D


def reason(layer, shape=(9, 8, 16), padding=None):
    """Why the only layer of a model stays."""
    image = keras.Input(shape)
    x = image if padding is None else padding(image)
    (found,) = find_convolutions(keras.Model(image, layer(x)))
    return found.reason


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Conv2D(64, 3, padding="same"),
        lambda: layers.Conv2D(64, (3, 3), groups=2, padding="SAME"),
        lambda: GroupedConv2D(64, 3, strides=2),
        # Nine rows, of which "same" pads both sides.
        lambda: layers.Conv2D(64, 3, strides=(2, 1), padding="same"),
    ],
)
def test_what_pads_half_of_the_kernel_fits(make):
    assert reason(make()) is None


@pytest.mark.parametrize("strides", [1, 2, 3])
def test_explicit_padding_of_a_pixel_fits(strides):
    conv = layers.Conv2D(64, 3, strides=strides)
    assert reason(conv, padding=layers.ZeroPadding2D(1)) is None


@pytest.mark.parametrize(
    "make, expected",
    [
        (lambda: layers.Conv2D(64, 1), "1×1 kernel, not 3×3"),
        (lambda: layers.Conv2D(64, (3, 5)), "3×5 kernel, not 3×3"),
        (lambda: GroupedConv2D(64, 5), "5×5 kernel, not 3×3"),
        (lambda: layers.Conv2D(63, 3), "63 filters, fewer than 64"),
        (lambda: layers.Conv2D(64, 3, dilation_rate=2), "dilation of 2×2"),
        (lambda: layers.DepthwiseConv2D(3), "DepthwiseConv2D, not Conv2D"),
        (lambda: layers.SeparableConv2D(64, 3), "SeparableConv2D, not Conv2D"),
        (lambda: layers.Conv2DTranspose(64, 3), "Conv2DTranspose, not Conv2D"),
        (
            lambda: layers.Conv2D(64, 3),
            'padding "valid", not half of the kernel',
        ),
        (
            lambda: layers.Conv2D(64, 3, strides=2, padding="same"),
            'padding "same" with strides 2×2 of 9×8 pixels, which pads one '
            "side alone",
        ),
        (
            lambda: layers.Conv2D(64, 3, padding="same", activation=PRELU),
            "an activation with weights",
        ),
        (
            lambda: layers.TimeDistributed(layers.Conv2D(64, 3), name="time"),
            "within the layer time, a TimeDistributed, which is no functional "
            "model",
        ),
    ],
)
def test_what_stays_has_a_reason(make, expected):
    layer = make()
    is_wrapper = isinstance(layer, layers.Wrapper)
    shape = (2, 9, 8, 16) if is_wrapper else (9, 8, 16)
    assert reason(layer, shape) == expected


PRELU = layers.PReLU(shared_axes=[1, 2])
PRELU.build((None, 1, 1, 64))


def test_sizes_and_channels_of_channels_first_are_told_apart():
    first = {"padding": "same", "data_format": "channels_first"}
    # Nine rows, of which "same" pads both sides, eight columns, and the
    # channels of neither kind.
    conv = layers.Conv2D(64, 3, strides=(2, 1), **first)
    assert reason(conv, (16, 9, 8)) is None
    conv = layers.Conv2D(64, 3, strides=(1, 2), **first)
    image = keras.Input((16, 9, 8))
    (found,) = find_convolutions(keras.Model(image, conv(image)))
    assert "of 9×8 pixels" in found.reason
    assert str(found) == "3×3 Conv2D, 16 to 64 channels, strides 1×2"


def test_a_quantized_convolution_stays():
    image = keras.Input((9, 8, 16))
    conv = layers.Conv2D(64, 3, padding="same")
    model = keras.Model(image, conv(image))
    conv._dtype_policy = keras.dtype_policies.get("int8_from_float32")
    (found,) = find_convolutions(model)
    assert found.reason == "quantized to int8"


def test_a_size_that_is_not_known_may_be_even():
    conv = layers.Conv2D(64, 3, strides=2, padding="same")
    assert "of ?×9 pixels" in reason(conv, (None, 9, 16))
    conv = layers.Conv2D(64, 3, padding="same")
    assert reason(conv, (None, None, 16)) is None


@pytest.mark.parametrize(
    "padding",
    [
        layers.ZeroPadding2D(2, name="pad"),
        layers.ZeroPadding2D(((0, 1), (0, 1)), name="pad"),
        layers.ZeroPadding2D(1, data_format="channels_first", name="pad"),
    ],
)
def test_other_explicit_padding_does_not_fit(padding):
    conv = layers.Conv2D(64, 3, data_format="channels_last")
    assert f"padding {padding.padding} of pad" in reason(conv, padding=padding)


def test_a_subclass_may_do_something_else():
    class Other(layers.Conv2D):
        pass

    assert reason(Other(64, 3, padding="same")) == "Other, not Conv2D"


def test_one_call_that_does_not_fit_is_enough():
    conv = layers.Conv2D(64, 3)
    padded = layers.ZeroPadding2D(1)
    image = keras.Input((8, 8, 64))
    model = keras.Model(image, conv(conv(padded(image))))
    (found,) = find_convolutions(model)
    assert found.input_shapes == [(None, 10, 10, 64), (None, 8, 8, 64)]
    assert found.paddings == [padded, None]
    assert "valid" in found.reason


def nested():
    shared = layers.Conv2D(64, 3, padding="same", name="shared")
    small = keras.Input((8, 8, 64))
    x = layers.Conv2D(64, 3, padding="same", name="conv")(shared(small))
    inner = keras.Model(small, x, name="inner")
    block = keras.Sequential(
        [small, layers.Conv2D(64, 3, padding="same", name="conv")],
        name="block",
    )
    image = keras.Input((8, 8, 64))
    x = PSA(64, name="psa")(inner(inner(shared(image))))
    return keras.Model(image, layers.Dense(2, name="dense")(block(x)))


def test_models_in_models_and_shared_layers():
    found = find_convolutions(nested())
    names = ["shared", "inner/conv", "block/conv"]
    assert [convolution.name for convolution in found] == names
    assert len(found[0].input_shapes) == 2


def test_a_choice_by_names_or_by_a_function():
    model = nested()
    for where, chosen in (
        (None, ["shared", "inner/conv", "block/conv"]),
        (["shared", "block/conv"], ["shared", "block/conv"]),
        ("shared", ["shared"]),
        (lambda layer: layer.name == "conv", ["inner/conv", "block/conv"]),
    ):
        found = find_convolutions(model)
        choose(found, where, model)
        assert [x.name for x in found if x.reason is None] == chosen
        left = {x.reason for x in found} - {None}
        assert left <= {"left out by `where`"}


def test_names_that_are_none():
    model = nested()
    with pytest.raises(ValueError) as error:
        choose(
            find_convolutions(model),
            ["conv", "nothing", "dense", "shared"],
            model,
        )
    message = str(error.value)
    assert "conv: one of inner/conv, block/conv; " in message
    assert "nothing: no such layer; dense: Dense, not Conv2D. " in message
    assert "Received: where=['conv', 'nothing'" in message
    assert "shared: " not in message


def test_a_convolution_in_words():
    image = keras.Input((9, 9, 16))
    x = layers.Conv2D(64, 3, strides=(2, 1), padding="same")(image)
    (found,) = find_convolutions(keras.Model(image, x))
    assert str(found) == "3×3 Conv2D, 16 to 64 channels, strides 2×1"
