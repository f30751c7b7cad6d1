import keras
import numpy as np
import pytest

from keras_epsanet.explain.layer_search import (
    Target,
    all_calls,
    find_data_format,
    find_layer,
)


def nested(second="b"):
    def part(name):
        image = keras.Input((8, 8, 2))
        conv = keras.layers.Conv2D(2, 1, name="conv")
        return keras.Model(image, conv(image), name=name)

    image = keras.Input((8, 8, 2))
    first, other = part("a"), part(second)
    x = keras.layers.ReLU(name="last")(other(first(image)))
    return keras.Model(image, x), first, other


def test_layers_have_the_names_of_the_models_around_them():
    model, first, other = nested()
    calls = all_calls(model)
    assert list(calls) == ["a/conv", "a", "b/conv", "b", "last"]
    assert calls["a/conv"][0] is first.get_layer("conv")
    assert all(len(outputs) == 1 for _, outputs in calls.values())


def test_names_may_be_short_where_they_are_clear():
    model, first, other = nested()
    assert find_layer(model, "b/conv").layer is other.get_layer("conv")
    assert find_layer(model, "last").layer is model.get_layer("last")
    assert find_layer(model, None).layer is model.get_layer("last")
    assert find_layer(model, None, {"a", "a/conv"}).layer is first
    assert find_layer(model, None, {"elsewhere"}).layer.name == "last"
    with pytest.raises(ValueError, match="no layer 'onv'.*mean b/conv"):
        find_layer(model, "onv")
    with pytest.raises(ValueError, match="may be a/conv or b/conv"):
        find_layer(model, "conv")
    assert find_layer(first, "conv").layer is first.get_layer("conv")


def test_a_model_that_is_called_twice_calls_its_layers_twice():
    _, first, _ = nested()
    image = keras.Input((8, 8, 2))
    model = keras.Model(image, first(first(image)))
    with pytest.raises(ValueError, match="a/conv is called 2 times"):
        find_layer(model, "conv")
    with pytest.raises(ValueError, match="no layer with pixels that is called"):
        find_layer(model, None)


def test_calls_in_other_models_do_not_count():
    _, first, _ = nested()
    layer = first.get_layer("conv")
    layer(keras.Input((4, 4, 2)))
    assert find_layer(first, "conv").layer is layer


def test_layers_without_pixels_are_no_candidates():
    image = keras.Input((8, 8, 2))
    x = keras.layers.Conv2D(2, 1, name="conv")(image)
    x = keras.layers.GlobalAveragePooling2D(keepdims=True, name="mean")(x)
    model = keras.Model(image, keras.layers.Flatten(name="flat")(x))
    assert find_layer(model, None).layer.name == "conv"
    for name, shape in (("mean", r"\(None, 1, 1, 2\)"), ("flat", "None, 2")):
        message = f"{name} has no spatial output.*{shape}.*explained: conv."
        with pytest.raises(ValueError, match=message):
            find_layer(model, name)


def test_channels_are_put_last():
    array = np.zeros((5, 2, 3, 7, 8))
    target = Target(None, "channels_first")
    assert target.as_channels_last(array).shape == (5, 2, 7, 8, 3)
    assert Target(None, "channels_last").as_channels_last(array) is array


def test_the_data_format_is_that_of_the_layers():
    for data_format in ("channels_last", "channels_first"):
        image = keras.Input((8, 8, 8))
        x = keras.layers.ReLU()(image)
        pool = keras.layers.MaxPooling2D(data_format=data_format)
        assert find_data_format(keras.Model(image, pool(x))) == data_format
    model = keras.Model(image, x)
    assert find_data_format(model) == keras.config.image_data_format()


def test_one_pixel_is_none_wherever_the_channels_are():
    image = keras.Input((2, 8, 7))
    data_format = "channels_first"
    x = keras.layers.MaxPooling2D(data_format=data_format, name="pool")(image)
    x = keras.layers.ReLU(name="relu")(x)
    mean = keras.layers.GlobalAveragePooling2D(
        data_format, keepdims=True, name="mean"
    )
    model = keras.Model(image, mean(x))
    assert find_layer(model, None) == (model.get_layer("relu"), data_format)


class Halves(keras.layers.Layer):
    """A layer of two outputs."""

    def call(self, inputs):
        return inputs / 2, inputs / 2


def test_a_layer_of_several_outputs_is_refused():
    image = keras.Input((8, 8, 2))
    model = keras.Model(image, Halves(name="halves")(image)[0])
    with pytest.raises(ValueError, match="halves has several outputs"):
        find_layer(model, "halves")
