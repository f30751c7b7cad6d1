import keras
import numpy as np
import pytest
from keras import layers

from keras_epsanet import (
    complexity,
    replace_convolutions,
    replacement_report,
)
from keras_epsanet.layers import PSA, SPC, GroupedConv2D
from keras_epsanet.weights import inherit

RANDOM = np.random.default_rng(0)
# All groups see all channels: one scale can then hold the convolution.
WHOLE = {"groups": (1, 1, 1, 1), "inherit": False, "verbose": 0}


def images(*shape):
    return RANDOM.standard_normal(shape).astype("float32")


def array(tensor):
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


def conv(filters=64, size=3, padding="same", **kwargs):
    return layers.Conv2D(filters, size, padding=padding, **kwargs)


def network(data_format, dtype=None):
    """Convolutions of every kind that can be replaced, and some others."""
    shared = {"data_format": data_format, "dtype": dtype}
    axis = -1 if data_format == "channels_last" else 1
    shape = (10, 9, 5) if axis == -1 else (5, 10, 9)
    image = keras.Input(shape, name="image")
    x = conv(name="same", **shared)(image)
    x = layers.BatchNormalization(axis=axis, name="norm", dtype=dtype)(x)
    x = layers.Dropout(0.5, seed=1, name="dropout", dtype=dtype)(x)
    x = layers.ZeroPadding2D(1, data_format=data_format, name="pad")(x)
    y = conv(68, padding="valid", strides=2, activation="relu", name="valid",
             **shared)(x)  # fmt: skip
    y = GroupedConv2D(
        64, 3, groups=4, strides=(1, 2), name="grouped", **shared
    )(y)
    y = keras.ops.add(y, 1.0)
    y = conv(8, 1, name="pointwise", **shared)(y)
    outputs = {"y": y, "pad": layers.MaxPooling2D(data_format=data_format)(x)}
    return keras.Model(image, outputs, name="network"), images(2, *shape)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_all_else_stays_as_it_is(
    randomize, data_format, embed, assert_same_calls
):
    model, x = network(data_format)
    randomize(model)
    before, names = model.get_weights(), [x.name for x in model.layers]
    new = replace_convolutions(
        model, ["same", "valid"], split_input=False, **WHOLE
    )
    assert type(new) is type(keras.Model(model.input, model.output))
    assert_same_calls(embed(new, model), model, x)
    assert [x.name for x in model.layers] == names
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    added = {"same_bias", "valid_bias", "valid_activation"}
    assert {x.name for x in new.layers} == {*names, *added}
    assert new.name == "network" and new.output.keys() == {"y", "pad"}
    for name in names:
        if name not in ("same", "valid"):
            old, copy = model.get_layer(name), new.get_layer(name)
            assert old is not copy and type(old) is type(copy)
    for name, strides in (("same", 1), ("valid", 2)):
        psa = new.get_layer(name)
        assert type(psa) is PSA and psa.strides == strides
        assert psa.data_format == data_format


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_another_layer_of_the_package(
    randomize, data_format, assert_same_calls
):
    model, x = network(data_format)
    randomize(model)
    new = replace_convolutions(
        model,
        layer=GroupedConv2D,
        kernel_size=3,
        groups=1,
        inherit=False,
        verbose=0,
    )
    for name in ("same", "valid", "grouped"):
        assert type(new.get_layer(name)) is GroupedConv2D
        if name != "grouped":
            new.get_layer(name).kernel.assign(model.get_layer(name).kernel)
    assert new.get_layer("grouped").strides == (1, 2)
    ends = [
        keras.Model(m.input, m.get_layer(name).output)
        for m, name in ((new, "valid_activation"), (model, "valid"))
    ]
    assert_same_calls(*ends, x)
    assert new(x)["y"].shape == model(x)["y"].shape


def test_dtype_policy_of_the_convolution(randomize, embed, assert_same_calls):
    model, x = network("channels_last", "mixed_bfloat16")
    randomize(model)
    new = replace_convolutions(model, ["same", "valid"], **WHOLE)
    for name in ("same", "same_bias", "valid", "valid_activation"):
        layer = new.get_layer(name)
        assert layer.dtype_policy.name == "mixed_bfloat16"
        assert layer.compute_dtype == "bfloat16"
    assert_same_calls(embed(new, model), model, x, atol=0.05)


LOAD = """
import keras, numpy as np
import keras_epsanet
model = keras.saving.load_model("new.keras")
np.save("y.npy", model.predict(np.load("x.npy"), verbose=0)["y"])
"""


def test_the_result_is_saved_and_loaded_elsewhere(
    randomize, run_python, tmp_path
):
    model, x = network("channels_last")
    new = randomize(replace_convolutions(model, ["same", "valid"], **WHOLE))
    new.save(tmp_path / "new.keras")
    np.save(tmp_path / "x.npy", x)
    run_python(LOAD)
    expected = array(new(x)["y"])
    y = np.load(tmp_path / "y.npy")
    np.testing.assert_allclose(y, expected, atol=1e-5 * np.abs(expected).max())


def test_the_result_trains():
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 3))
    x = conv(activation="relu")(layers.Conv2D(16, 1)(image))
    model = keras.Model(image, layers.GlobalAveragePooling2D()(x))
    new = replace_convolutions(model, inherit=False, verbose=0, reduction=2)
    new.compile("sgd", "mse")
    before = new.get_weights()
    new.fit(images(4, 6, 6, 3), images(4, 64), verbose=0)
    for now, then in zip(new.get_weights(), before, strict=True):
        assert not np.array_equal(now, then)


def test_a_network_of_keras_applications(randomize, embed, assert_same_calls):
    whole = keras.applications.ResNet50V2(
        weights=None, input_shape=(32, 32, 3), include_top=False
    )
    end = whole.get_layer("conv2_block3_out").output
    model = randomize(keras.Model(whole.input, end))
    new = embed(replace_convolutions(model, **WHOLE), model)
    names = {f"conv2_block{i}_2_conv" for i in (1, 2, 3)}
    psas = {x.name: x for x in new.layers if isinstance(x, PSA)}
    assert psas.keys() == names
    assert psas["conv2_block3_2_conv"].strides == 2
    assert_same_calls(new, model, images(1, 32, 32, 3), atol=1e-4)


@pytest.mark.parametrize(
    "make, reason",
    [
        (keras.applications.MobileNetV2, "17: DepthwiseConv2D, not Conv2D"),
        pytest.param(
            keras.applications.DenseNet121,
            "58: 32 filters, fewer than 64",
            marks=pytest.mark.large,
        ),
        (keras.applications.ConvNeXtTiny, "18: 7×7 kernel, not 3×3"),
    ],
)
def test_networks_that_nothing_fits_say_why(make, reason):
    model = make(weights=None, input_shape=(64, 64, 3), include_top=False)
    match = f"no convolution that PSA can replace: .*{reason}.*Received: model="
    with pytest.raises(ValueError, match=match):
        replace_convolutions(model)


def test_report(capsys):
    image = keras.Input((8, 8, 32))
    x = conv(name="first")(image)
    x = conv(name="second", strides=2, groups=2, padding="valid")(
        layers.ZeroPadding2D(1)(x)
    )
    x = conv(8, name="third")(x)
    model = keras.Model(image, x)
    new = replace_convolutions(model, ["second"], inherit=False)
    printed = capsys.readouterr().out
    report = replacement_report(model, ["second"])
    assert capsys.readouterr().out == ""
    assert printed == f"{report}\n"
    assert report.replaced == (
        ("second", "3×3 Conv2D, 64 to 64 channels, strides 2×2", "PSA"),
    )
    assert report.left == (
        ("first", "left out by `where`"),
        ("third", "8 filters, fewer than 64"),
    )
    before, after = complexity(model), complexity(new)
    assert report.parameters == (before.parameters, after.parameters)
    assert report.macs == (before.macs, after.macs)
    assert after.macs != before.macs and not after.uncounted


def test_report_of_a_model_that_leaves_sizes_open():
    image = keras.Input((None, None, 16))
    x = layers.BatchNormalization()(conv(name="conv")(image))
    model = keras.Model(image, x)
    report = replacement_report(model)
    assert report.macs is None
    # Without the statistics of the normalization.
    sizes = [np.prod(x.shape) for x in model.trainable_weights]
    assert report.parameters[0] == sum(sizes) < model.count_params()


def test_a_layer_that_does_not_fit_leaves_the_convolution():
    image = keras.Input((6, 6, 3))
    x = conv(name="of_colors")(image)
    model = keras.Model(image, conv(66, name="odd")(conv(name="fits")(x)))
    report = replacement_report(model)
    assert [x.name for x in report.replaced] == ["fits"]
    left = {x.name: x.reason for x in report.left}
    assert "must divide the 3 input channels" in left["of_colors"]
    assert "divisible by the number of scales, 4" in left["odd"]
    assert all("Received" not in reason for reason in left.values())
    with pytest.raises(ValueError, match="of_colors: `groups` of.*; odd: `fil"):
        replace_convolutions(model, ["of_colors", "fits", "odd"])
    report = replacement_report(model, layer=GroupedConv2D, kernel_size=(5, 1))
    assert len(report.replaced) == 3
    other = layers.Conv2D  # Without padding.
    report = replacement_report(model, layer=other, kernel_size=5)
    assert report.left[0].reason == (
        "output (None, 2, 2, 64) in place of (None, 6, 6, 64)"
    )


def test_a_function_makes_the_layers():
    image = keras.Input((6, 6, 16))
    model = keras.Model(image, conv(name="a")(image))

    def make(**kwargs):
        return SPC(kernel_sizes=(3, 5), **kwargs)

    new = replace_convolutions(model, layer=make, inherit=False, verbose=0)
    assert new.get_layer("a").kernel_sizes == (3, 5)
    with pytest.raises(ValueError, match="must return Keras layers.*Received"):
        replace_convolutions(model, layer=lambda **kwargs: None)
    with pytest.raises(ValueError, match="Unrecognized.*'reductions': 4"):
        replace_convolutions(model, reductions=4)


def test_layers_that_cannot_inherit_are_refused():
    image = keras.Input((6, 6, 16))
    model = keras.Model(image, conv(name="a")(image))
    match = "SeparableConv2D cannot inherit.*Received: layer"
    with pytest.raises(ValueError, match=match):
        replace_convolutions(
            model, layer=layers.SeparableConv2D, kernel_size=3, padding="same"
        )


def test_refuses_what_it_cannot_do():
    image = keras.Input((6, 6, 16))
    model = keras.Model(image, layers.Dense(3)(image))
    with pytest.raises(ValueError, match="PSA can replace: it has none. Rec"):
        replace_convolutions(model)
    with pytest.raises(ValueError, match="must be a functional model"):
        replace_convolutions(keras.Sequential([conv()]))
    with pytest.raises(ValueError, match="Received: inherit=False, images=nda"):
        replace_convolutions(model, inherit=False, images=images(1, 6, 6, 16))
    with pytest.raises(ValueError, match="nothing: no such layer"):
        replacement_report(model, ["nothing"])


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_layers_inherit_from_bare_convolutions(
    randomize, monkeypatch, assert_same_calls, data_format
):
    calls = []

    def note(*args, **kwargs):
        calls.append((args, kwargs))
        return inherit.Inheritance("it", (), {}, {}, ())

    monkeypatch.setattr(inherit, "inherit_weights", note)
    model, x = network(data_format)
    randomize(model)
    new = replace_convolutions(
        model, ["same", "valid"], groups=(1, 1, 1, 1), images=x, verbose=0
    )
    (((to, source), arguments),) = calls
    assert to is new
    assert arguments == {"images": x, "verbose": False}
    assert_same_calls(source, model, x)
    assert [x.name for x in source.layers] == [x.name for x in new.layers]
    outputs = source.get_layer("valid").output
    bare = array(keras.Model(source.input, outputs)(x))
    assert bare.min() < 0  # The activation follows.
    for name in ("same_bias", "valid_bias"):
        bias = model.get_layer(name.removesuffix("_bias")).bias
        np.testing.assert_array_equal(
            array(source.get_layer(name).bias), array(bias)
        )


@pytest.mark.parametrize("layer", [PSA, SPC])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_layers_inherit(
    randomize, data_format, layer, capsys, assert_same_calls
):
    model, x = network(data_format)
    randomize(model)
    new = replace_convolutions(
        model, ["same", "valid"], layer=layer, groups=(1, 1, 1, 1), verbose=0
    )
    assert capsys.readouterr().out == ""
    assert_same_calls(new, model, x)


def nested():
    """A convolution, and one of the same name in a model in the model."""
    x = keras.Input((8, 8, 64))
    y = layers.BatchNormalization(name="norm")(conv(name="conv")(x))
    inner = keras.Model(x, y, name="inner")
    image = keras.Input((8, 8, 64), name="image")
    y = layers.BatchNormalization(name="norm")(conv(name="conv")(image))
    return keras.Model(image, inner(y)), images(16, 8, 8, 64)


def test_images_reach_no_model_in_the_model(randomize):
    model, x = nested()
    before = randomize(model).get_weights()
    with pytest.raises(
        ValueError,
        match="leaves them out.*: images for a model with inner/conv",
    ):
        replace_convolutions(model, images=x, verbose=0)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    # Without them, or without that convolution, it is done.
    embedded = replace_convolutions(model, verbose=0)
    fitted = replace_convolutions(model, ["conv"], images=x, verbose=0)
    expected = model.predict(x, verbose=0)
    errors = [
        np.square(new.predict(x, verbose=0) - expected).mean()
        for new in (embedded, fitted)
    ]
    assert type(embedded.get_layer("inner").get_layer("conv")) is PSA
    assert type(fitted.get_layer("inner").get_layer("conv")) is layers.Conv2D
    assert errors[1] < errors[0]


def test_layers_of_inner_models_that_cannot_inherit_are_refused():
    model, _ = nested()
    with pytest.raises(ValueError, match="cannot inherit from a convolution"):
        replace_convolutions(
            model, ["inner/conv"], layer=layers.SeparableConv2D, kernel_size=3,
            padding="same", verbose=0,
        )  # fmt: skip
