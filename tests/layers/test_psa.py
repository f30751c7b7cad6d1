import warnings

import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet.layers import PSA
from keras_epsanet.ops import forms, layouts

GOLDEN = ["psa_small_w64_s1", "psa_small_w128_s2", "psa_large_w128_s1"]


@pytest.fixture
def golden_psa(golden, set_golden_weights):
    def build(name, dtype="float32"):
        reference = golden(name)
        layer = PSA(
            int(reference["width"]),
            kernel_sizes=[int(k) for k in reference["kernel_sizes"]],
            groups=[int(g) for g in reference["groups"]],
            strides=int(reference["strides"]),
            dtype=dtype,
        )
        layer.build(reference["x"].shape)
        set_golden_weights(psa=layer)
        return layer, reference

    return build


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_values(golden_psa, name):
    layer, reference = golden_psa(name)
    expected = reference["y_paper_order"]
    y = ops.convert_to_numpy(layer(reference["x"]))
    np.testing.assert_allclose(
        y, expected, rtol=0, atol=1e-5 * np.abs(expected).max()
    )


def gradients_by_name(layer, x, value_and_gradients):
    """Gradient of `mean(y**2)` by the input and the norms of the others."""
    _, dx, gradients = value_and_gradients(layer, x, lambda y: ops.mean(y**2))
    norms = {
        id(weight): np.linalg.norm(gradient)
        for weight, gradient in zip(layer.trainable_weights, gradients)
    }
    variables = {
        f"conv_{i}.weight": conv.kernel
        for i, conv in enumerate(layer.spc.convolutions, start=1)
    }
    for stage in ("fc1", "fc2"):
        dense = getattr(layer.se, stage)
        variables[f"se.{stage}.weight"] = dense.kernel
        variables[f"se.{stage}.bias"] = dense.bias
    assert len(variables) == len(norms)
    return dx, {name: norms[id(v)] for name, v in variables.items()}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_gradients(golden_psa, value_and_gradients, name):
    # In float64, because the norms of SEWeight's gradients are differences
    # of nearly equal numbers: float32 rounds them by up to 6e-5 on either
    # side, the reference included.
    layer, reference = golden_psa(name, "float64")
    x = reference["x"].astype("float64")
    dx, norms = gradients_by_name(layer, x, value_and_gradients)
    expected = reference["dx"]
    np.testing.assert_allclose(
        dx, expected, rtol=0, atol=1e-4 * np.abs(expected).max()
    )
    keys = [key for key in reference if key.startswith("grad_norm/")]
    assert len(keys) == len(norms)
    for key in keys:
        norm = norms[key.removeprefix("grad_norm/")]
        np.testing.assert_allclose(norm, reference[key], rtol=1e-4, err_msg=key)
    # And float32 agrees with float64.
    layer, _ = golden_psa(name)
    dx32, norms32 = gradients_by_name(
        layer, reference["x"], value_and_gradients
    )
    np.testing.assert_allclose(dx32, dx, rtol=0, atol=1e-4 * np.abs(dx).max())
    for key, norm in norms.items():
        np.testing.assert_allclose(norms32[key], norm, rtol=2e-4, err_msg=key)


@pytest.mark.parametrize("scales", [1, 2, 3, 4, 5])
def test_attention_sums_to_one_and_weighs_the_scales(scales):
    kernel_sizes = (3, 5, 7, 9, 11)[:scales]
    layer = PSA(16 * scales, kernel_sizes, groups=(1,) * scales, reduction=4)
    x = np.random.default_rng(0).standard_normal((2, 6, 5, 16))
    y, attention = layer(x, return_attention=True)
    attention = ops.convert_to_numpy(attention)
    assert attention.shape == (2, scales, 16)
    np.testing.assert_allclose(attention.sum(axis=1), 1, atol=1e-6)
    features = ops.convert_to_numpy(layer.spc(x))
    expected = features * attention.reshape(2, 1, 1, -1)
    np.testing.assert_allclose(ops.convert_to_numpy(y), expected, atol=1e-6)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    "dtype, tolerance",
    [
        ("float32", 1e-5),
        ("float64", 1e-5),
        ("bfloat16", 3e-2),
        ("mixed_bfloat16", 3e-2),
        ("mixed_float16", 3e-3),
    ],
)
def test_every_dtype_policy_and_data_format_agrees_and_trains(
    value_and_gradients, data_format, dtype, tolerance
):
    x = np.random.default_rng(0).standard_normal((2, 9, 10, 64))
    x = x.astype("float32")
    reference = PSA(64, strides=2)
    expected = ops.convert_to_numpy(reference(x))
    layer = PSA(64, strides=2, data_format=data_format, dtype=dtype)
    if data_format == "channels_first":
        x = x.transpose(0, 3, 1, 2)
        expected = expected.transpose(0, 3, 1, 2)
    layer.build(x.shape)
    layer.set_weights(reference.get_weights())
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.cast(y, "float32")),
        expected,
        rtol=0,
        atol=tolerance * np.abs(expected).max(),
    )
    _, _, gradients = value_and_gradients(
        layer, x, lambda y: ops.mean(ops.cast(y, "float32") ** 2)
    )
    for weight, gradient in zip(layer.trainable_weights, gradients):
        gradient = np.asarray(gradient, "float32")
        assert np.isfinite(gradient).all() and gradient.any(), weight.path


def test_symbolic_shapes_equal_computed_ones():
    layer = PSA(64, strides=2)
    y, attention = layer(keras.Input((13, None, 32)), return_attention=True)
    assert y.shape == (None, 7, None, 64)
    assert attention.shape == (None, 4, 16)
    y, attention = layer(np.ones((3, 13, 8, 32)), return_attention=True)
    assert tuple(y.shape) == (3, 7, 4, 64)
    assert tuple(attention.shape) == (3, 4, 16)


def test_symbolic_outputs_have_the_dtype_of_the_computation():
    layer = PSA(64, dtype="mixed_bfloat16")
    y, attention = layer(keras.Input((8, 8, 64)), return_attention=True)
    assert y.dtype == attention.dtype == "bfloat16"
    assert layer(keras.Input((8, 8, 64))).dtype == "bfloat16"


def test_attention_of_channels_first_is_that_of_channels_last():
    x = np.random.default_rng(0).standard_normal((2, 6, 5, 64))
    last = PSA(64, data_format="channels_last")
    first = PSA(64, data_format="channels_first")
    _, expected = last(x, return_attention=True)
    x = x.transpose(0, 3, 1, 2)
    first.build(x.shape)
    first.set_weights(last.get_weights())
    y, attention = first(x, return_attention=True)
    assert tuple(y.shape) == first.compute_output_shape(x.shape)
    np.testing.assert_allclose(
        ops.convert_to_numpy(attention),
        ops.convert_to_numpy(expected),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    "data_format, shape",
    [
        ("channels_last", (1, 5, 7, 4)),
        ("channels_first", (1, 4, 5, 7)),
    ],
)
def test_operations_by_hand(data_format, shape):
    layer = PSA(
        8, (3, 5), (1, 4), strides=2, reduction=2, data_format=data_format
    )
    layer.build(shape)
    assert layer.count_operations(shape) == {
        "macs": 3 * 4 * 4 * (3 * 3 * 4 + 5 * 5) + 2 * (4 * 2 + 2 * 4),
        "biases": 2 * (2 + 4),
        "relus": 2 * 2,
        "pooled": 3 * 4 * 8,
    }


def test_attention_is_an_output_of_a_reloaded_model(tmp_path):
    image = keras.Input((None, None, 64))
    model = keras.Model(image, PSA(64)(image, return_attention=True))
    x = np.random.default_rng(0).standard_normal((2, 6, 6, 64))
    expected = model(x)
    model.save(tmp_path / "model.keras")
    outputs = keras.saving.load_model(tmp_path / "model.keras")(x)
    for output, wanted in zip(outputs, expected):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(output), ops.convert_to_numpy(wanted)
        )


def test_narrow_psa_names_groups_and_reduction_that_fit():
    with pytest.raises(ValueError) as error:
        PSA(32)
    message = str(error.value)
    assert "groups=(1, 4, 8, 8) and reduction=8 would fit" in message
    assert "Received: groups=(1, 4, 8, 16), reduction=16" in message
    layer = PSA(32, groups=(1, 4, 8, 8), reduction=8)
    assert tuple(layer(np.ones((1, 4, 4, 32))).shape) == (1, 4, 4, 32)


def test_the_default_is_the_module_of_the_paper():
    layer = PSA(64)
    assert layer.kernel_sizes == (3, 5, 7, 9)
    assert layer.groups == (1, 4, 8, 16)
    assert (layer.strides, layer.reduction) == (1, 16)
    assert not layer.split_input


def test_reduction_larger_than_a_scale_is_refused():
    with pytest.raises(ValueError, match="reduction=16 would fit.*=17"):
        PSA(64, reduction=17)


def test_wrong_rank_and_unknown_channels_are_refused():
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=3"):
        PSA(64)(np.ones((8, 8, 64)))
    with pytest.raises(ValueError, match="input channels must be known"):
        PSA(64).build((None, 8, 8, None))


@pytest.mark.parametrize("split_input, channels", [(False, 16), (True, 64)])
def test_too_few_channels_name_what_fits(split_input, channels):
    with pytest.raises(ValueError) as error:
        PSA(64, split_input=split_input, name="first")(np.ones((1, 4, 4, 4)))
    message = str(error.value)
    assert "`groups` of first/spc must divide the" in message
    fitting = (1, 1, 1, 1) if split_input else (1, 4, 4, 4)
    assert f"groups={fitting} would fit" in message
    assert f"convolution in front make {channels} channels" in message
    assert "Received: groups=(1, 4, 8, 16), input_shape=(1, 4, 4, 4)" in message
    x = np.ones((1, 4, 4, channels))
    assert PSA(64, split_input=split_input)(x).shape[-1] == 64


def test_a_single_scale_trains_without_a_warning():
    model = keras.Sequential(
        [keras.Input((6, 6, 8)), PSA(8, (3,), (1,), reduction=4)]
    )
    model.compile("sgd", "mse")
    before = model.layers[0].se.get_weights()
    x = np.random.default_rng(0).normal(size=(4, 6, 6, 8)).astype("float32")
    with warnings.catch_warnings():
        # Of weights that no gradient reaches, or of a softmax that is 1.
        warnings.simplefilter("error", UserWarning)
        model.fit(x, x, verbose=0)
        _, attention = model.layers[0](x, return_attention=True)
    assert (keras.ops.convert_to_numpy(attention) == 1).all()
    for now, then in zip(model.layers[0].se.get_weights(), before):
        np.testing.assert_array_equal(now, then)


def test_arguments_reach_the_config_and_the_sublayers():
    given = {
        "filters": 24,
        "kernel_sizes": (3, 7, 5),
        "groups": (2, 1, 4),
        "strides": 2,
        "split_input": True,
        "reduction": 4,
        "kernel_initializer": "ones",
        "kernel_regularizer": "l2",
        "kernel_constraint": "non_neg",
    }
    layer = PSA(**given, trainable=False, dtype="mixed_bfloat16")
    copy = PSA.from_config(layer.get_config())
    for name, value in given.items():
        if not name.startswith("kernel_") or name == "kernel_sizes":
            assert getattr(layer, name) == getattr(copy, name) == value
    layer.build((None, 8, 8, 24))
    for part in layer._flatten_layers():
        assert part.dtype_policy.name == "mixed_bfloat16"
        assert not part.trainable_weights
    kernels = [x for x in layer.weights if x.name == "kernel"]
    assert len(kernels) == 5
    for kernel in kernels:
        assert (ops.convert_to_numpy(kernel) == 1).all()
        assert kernel.regularizer and kernel.constraint


@pytest.mark.parametrize(
    "name, value",
    [
        ("filters", "64"),
        ("kernel_sizes", "3"),
        ("groups", "3"),
        ("reduction", "16"),
        ("reduction", None),
    ],
)
def test_a_message_shows_what_was_received(name, value):
    arguments = {"filters": 64, name: value}
    with pytest.raises(ValueError, match=f"{name}`.*: {name}={value!r}"):
        PSA(**arguments)


@pytest.mark.parametrize(
    "arguments, received",
    [
        ({"kernel_sizes": 3}, "kernel_sizes=3"),
        ({"kernel_sizes": np.int64(3)}, r"kernel_sizes=np.int64\(3\)"),
        (
            {"kernel_sizes": 3, "padding": "same"},
            "kernel_sizes=3, padding='same'",
        ),
        ({"padding": "valid"}, "padding='valid'"),
        ({"kernel_size": (3, 3)}, r"kernel_size=\(3, 3\)"),
    ],
)
def test_arguments_of_a_convolution_are_refused(arguments, received):
    message = f"place of a Conv2D without its kernel size.*: {received}$"
    with pytest.raises(ValueError, match=message):
        PSA(64, **arguments)


# Layouts

PYRAMID = {"kernel_sizes": (3, 5), "groups": (1, 4), "reduction": 2}


def images_in(data_format, channels=8):
    x = np.random.default_rng(0).standard_normal((2, 7, 6, channels))
    x = x.astype("float32")
    return x if data_format == "channels_last" else x.transpose(0, 3, 1, 2)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "arguments", [{}, {"strides": (2, 1), "split_input": True}]
)
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_every_layout_computes_the_same(
    value_and_gradients, data_format, layout, arguments, dtype
):
    arguments = {**PYRAMID, **arguments}
    arguments |= {"dtype": dtype, "data_format": data_format}
    x = images_in(data_format)
    plain, other = PSA(16, **arguments), PSA(16, layout=layout, **arguments)
    for layer in (plain, other):
        layer.build(x.shape)
    other.set_weights(plain.get_weights())
    factors = np.random.default_rng(1).standard_normal(
        plain.compute_output_shape(x.shape)
    )
    factors = factors.astype("float32")

    def loss(y):
        return ops.sum(ops.multiply(ops.cast(y, "float32"), factors))

    y = [
        ops.convert_to_numpy(ops.cast(z(x), "float32")) for z in (plain, other)
    ]
    found = [value_and_gradients(z, x, loss) for z in (plain, other)]
    # Of bfloat16, which rounds to 8 bits.
    limits = (1e-5, 1e-4) if dtype == "float32" else (0.02, 0.05)
    np.testing.assert_allclose(*y, atol=limits[0] * np.abs(y[0]).max())
    for one, two in zip(*[[z[1], *z[2]] for z in found]):
        limit = limits[1] * max(np.abs(one).max(), 1)
        np.testing.assert_allclose(two, one, atol=limit)


@pytest.fixture
def seen(monkeypatch):
    """Data formats and shapes that convolutions are computed in."""
    from keras_epsanet.layers import grouped_conv2d, spc

    found = {"formats": [], "rearranged": []}
    convolve = grouped_conv2d.grouped_convolution
    rearrange = spc.layouts.rearrange

    def convolve_seen(inputs, kernel, strides, groups, data_format, native):
        found["formats"].append((data_format, native, tuple(inputs.shape)))
        return convolve(inputs, kernel, strides, groups, data_format, native)

    def rearrange_seen(images, source, target):
        found["rearranged"].append((source, target))
        return rearrange(images, source, target)

    monkeypatch.setattr(grouped_conv2d, "grouped_convolution", convolve_seen)
    monkeypatch.setattr(spc.layouts, "rearrange", rearrange_seen)
    return found


def test_inputs_and_outputs_are_transposed_once_for_all_convolutions(seen):
    layer = PSA(16, layout="channels_first", **PYRAMID)
    assert layer.spc.data_format == "channels_last"
    assert layer(images_in("channels_last")).shape == (2, 7, 6, 16)
    assert seen["formats"] == [("channels_first", True, (2, 8, 7, 6))] * 2
    there = ("channels_last", "channels_first")
    assert seen["rearranged"] == [there, there[::-1]]


@pytest.mark.parametrize("layout", [None, "auto"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_without_a_layout_or_a_measurement_nothing_changes(
    seen, data_format, layout
):
    x = images_in(data_format)
    PSA(16, layout=layout, data_format=data_format, **PYRAMID)(x)
    assert seen["formats"] == [(data_format, False, x.shape)] * 2
    assert not seen["rearranged"]


def test_auto_is_the_layout_that_was_chosen_for_the_size(seen):
    layer = PSA(16, layout="auto", **PYRAMID)
    x = images_in("channels_last")
    with forms.asked_for() as asked:
        layer(x)
    problem = next(p for p in asked if isinstance(p, layouts.Pyramid))
    seen["formats"].clear()
    with forms.tried({problem: "channels_first"}):
        layer(x)
        layer(x[:, 1:])
    assert [x[0] for x in seen["formats"]] == (
        ["channels_first"] * 2 + ["channels_last"] * 2
    )


@pytest.mark.parametrize("layout", ["channels_last", "channels_first", "auto"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_layout_is_saved_and_takes_images_of_any_size(
    tmp_path, data_format, layout
):
    x = images_in(data_format)
    shape = [None if n in (7, 6) else n for n in x.shape[1:]]
    inputs = keras.Input(shape)
    arguments = {**PYRAMID, "data_format": data_format}
    psa = PSA(16, layout=layout, **arguments)
    model = keras.Model(inputs, psa(inputs))
    model.save(tmp_path / "m.keras")
    copy = keras.saving.load_model(tmp_path / "m.keras")
    assert copy.layers[1].layout == copy.layers[1].spc.layout == layout
    plain = PSA(16, **arguments)
    plain.build(x.shape)
    plain.set_weights(model.get_weights())
    for images in (x, x[..., 1:]) if x.shape[-1] == 6 else (x, x[:, 1:]):
        expected = ops.convert_to_numpy(plain(images))
        for one in (model, copy):
            found = one.predict(images, verbose=0)
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_config_has_a_layout_only_if_it_was_given():
    layer = PSA(64)
    assert layer.layout is None
    assert "layout" not in layer.get_config()
    assert "layout" not in layer.spc.get_config()
    assert PSA(64, layout="auto").get_config()["layout"] == "auto"


def test_unknown_layouts_and_wrong_channels_are_refused():
    with pytest.raises(ValueError, match="\"auto\", .*layout='NCHW'"):
        PSA(64, layout="NCHW")
    layer = PSA(16, layout="channels_first", **PYRAMID)
    layer.build((None, 8, 8, 8))
    with pytest.raises(ValueError, match="expected axis -1 .*value 8"):
        layer(np.ones((1, 8, 8, 12)))


def test_it_can_be_computed_again_for_its_gradient():
    with keras.RematScope(mode="list_of_layers", layer_names=["psa"]):
        layer = PSA(64, name="psa")
        image = keras.Input((8, 8, 64))
        x = keras.layers.GlobalAveragePooling2D()(layer(image))
        model = keras.Model(image, keras.layers.Dense(1)(x))
    plain = keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    images = np.random.default_rng(0).standard_normal((2, 8, 8, 64))
    for each in (model, plain):
        each.compile("sgd", "mse")
        each.train_on_batch(images, np.ones((2, 1)))
    for x, y in zip(model.get_weights(), plain.get_weights()):
        np.testing.assert_allclose(x, y, atol=1e-5)
