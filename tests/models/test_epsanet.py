import inspect

import keras
import numpy as np
import pytest
from keras import ops

import keras_epsanet
from keras_epsanet import EPSANet, EPSANet50Small, complexity, fuse
from keras_epsanet.models import resnet

TINY = {
    "stackwise_num_blocks": (1, 1),
    "stackwise_num_filters": (16, 32),
    "kernel_sizes": (3, 5),
    "groups": (1, 4),
    "reduction": 4,
}


def tiny(**kwargs):
    return EPSANet(**{**TINY, "classes": 7, **kwargs})


# They are the same on every backend.
once = pytest.mark.skipif(
    keras.backend.backend() == "jax",
    reason="XLA compiles the initial values of every shape for seconds",
)
# Every argument but a tensor and a file, unlike its default.
ARGUMENTS = {
    "stackwise_num_blocks": (1, 2),
    "stackwise_num_filters": (24, 12),
    "kernel_sizes": (3, 5, 7),
    "groups": (1, 2, 4),
    "reduction": 4,
    "split_input": True,
    "layout": "channels_first",
    "synchronized": keras.backend.backend() == "tensorflow",
    "expansion": 2,
    "norm_eval": True,
    "include_top": False,
    "input_shape": (None, 40, 3),
    "pooling": "max",
    "classes": 7,
    "classifier_activation": "relu",
    "data_format": "channels_last",
    "dtype": "float64",
    "name": "left",
    "prefix": "left_",
    "include_preprocessing": True,
}
# Other values of those that are not flags.
OTHERS = {
    "stackwise_num_blocks": (2, 1),
    "stackwise_num_filters": (24, 24),
    "kernel_sizes": (3, 3, 7),
    "groups": (1, 1, 4),
    "reduction": 2,
    "layout": "auto",
    "expansion": 3,
    "input_shape": (None, None, 3),
    "pooling": "avg",
    "classes": 8,
    "classifier_activation": "softmax",
    "data_format": "channels_first",
    "dtype": "float32",
    "name": "right",
    "prefix": "right_",
}


def describe(model):
    """All that a network was built with, but for names made by counting."""
    layers = [layer.get_config() for layer in model.layers[1:]]
    shapes = [tuple(weight.shape) for weight in model.weights]
    policy = model.dtype_policy.name
    return model.name, model.input_shape, policy, layers, shapes


@pytest.fixture(scope="module")
def described():
    return {
        include_top: describe(
            EPSANet(**{**ARGUMENTS, "include_top": include_top})
        )
        for include_top in (False, True)
    }


@once
@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_argument_reaches_the_network(name, described):
    if name == "synchronized" and keras.backend.backend() != "tensorflow":
        pytest.skip("no other backend synchronizes")
    of_top = name in ("classes", "classifier_activation")
    change = {"include_top": of_top}
    change[name] = OTHERS.get(name, not ARGUMENTS[name])
    if name == "data_format":
        change["input_shape"] = (3, None, 40)
    assert describe(EPSANet(**ARGUMENTS | change)) != described[of_top]


@once
def test_arguments_unless_told_otherwise():
    defaults = {
        "reduction": 16,
        "split_input": False,
        "synchronized": False,
        "layout": None,
        "expansion": 4,
        "norm_eval": False,
        "include_top": True,
        "weights": None,
        "input_tensor": None,
        "input_shape": (224, 224, 3),
        "pooling": None,
        "classes": 1000,
        "classifier_activation": "softmax",
        "data_format": "channels_last",
        "dtype": "float32",
        "name": "epsanet",
        "prefix": "",
        "include_preprocessing": False,
    }
    required = {
        "stackwise_num_blocks": (1,),
        "stackwise_num_filters": (64,),
        "kernel_sizes": (3, 5),
        "groups": None,
    }
    names = set(inspect.signature(EPSANet).parameters) - {"kwargs"}
    assert names == defaults.keys() | required.keys()
    assert names == ARGUMENTS.keys() | {"weights", "input_tensor"}
    plain = describe(EPSANet(**required))
    assert plain == describe(EPSANet(**required, **defaults))


# Of the arguments above, what decides how a file of weights is read.
@once
@pytest.mark.parametrize(
    "change",
    [
        {},
        {
            "data_format": "channels_first",
            "input_shape": (3, None, 40),
        },
    ],
    ids=["channels_last", "channels_first"],
)
def test_weights_are_read_by_a_network_like_the_model(monkeypatch, change):
    monkeypatch.setattr(resnet, "check_weights", lambda weights: None)
    received = []
    monkeypatch.setattr(
        resnet, "load_weights", lambda *arguments: received.append(arguments)
    )
    arguments = {**ARGUMENTS, "include_top": True, "prefix": "", **change}
    # It has no weights, and may be there or not.
    arguments["include_preprocessing"] = False
    model = EPSANet(**arguments, weights="some.keras")
    ((target, path, build_like),) = received
    assert path == "some.keras"
    assert target.layers == model.layers
    reader = build_like(include_top=True, classes=7)
    skipped = ("name", "trainable", "norm_eval", "synchronized", "activation")
    for ours, theirs in zip(model.layers, reader.layers, strict=True):
        of_model, of_reader = (
            {k: v for k, v in x.get_config().items() if k not in skipped}
            for x in (ours, theirs)
        )
        assert of_model == of_reader, ours.name
    reader = build_like(include_top=False, classes=1)
    assert reader.layers[-1].name == "conv3_block2_out"


@once
def test_is_the_network_of_figure_5(randomize):
    model = randomize(tiny(input_shape=(37, 42, 3), expansion=2))
    images = np.random.default_rng(0).standard_normal((2, 37, 42, 3))

    def apply(name, x):
        layer = model.get_layer(name)
        if not name.endswith("conv"):
            return layer(x)
        half = layer.kernel.shape[0] // 2
        x = ops.pad(x, ((0, 0), (half, half), (half, half), (0, 0)))
        strides = 1
        if name in ("conv1_conv", "conv3_block1_0_conv"):
            strides = 2
        return ops.conv(x, layer.kernel, strides, padding="valid")

    assert model.get_layer("conv1_conv").kernel.shape == (7, 7, 3, 64)
    x = apply("conv1_conv", images.astype("float32"))
    x = ops.relu(apply("conv1_bn", x))
    x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = ops.max_pool(x, 3, 2, padding="valid")
    for stage, strides in ((2, 1), (3, 2)):
        block = f"conv{stage}_block1"
        shortcut = apply(f"{block}_0_bn", apply(f"{block}_0_conv", x))
        for part in ("1_conv", "1_bn", "relu", "psa", "2_bn", "relu"):
            x = ops.relu(x) if part == "relu" else apply(f"{block}_{part}", x)
        assert model.get_layer(f"{block}_psa").strides == strides
        x = apply(f"{block}_3_bn", apply(f"{block}_3_conv", x))
        x = ops.relu(x + shortcut)
    dense = model.get_layer("predictions")
    x = ops.matmul(ops.mean(x, (1, 2)), dense.kernel) + dense.bias
    np.testing.assert_allclose(
        model.predict(images, verbose=0),
        ops.convert_to_numpy(ops.softmax(x)),
        atol=1e-5,
    )


def test_a_shortcut_is_a_convolution_where_shapes_change():
    model = tiny(
        stackwise_num_blocks=(2, 2),
        stackwise_num_filters=(64, 64),
        expansion=1,
    )
    names = [x.name for x in model.layers if x.name.endswith("_0_conv")]
    # Not in the first stage, whose input is as its output.
    assert names == ["conv3_block1_0_conv"]
    strides = [
        model.get_layer(f"conv{stage}_block{block}_psa").strides
        for stage in (2, 3)
        for block in (1, 2)
    ]
    assert strides == [1, 1, 2, 1]


def test_default_shapes_with_and_without_classifier():
    assert tiny().input_shape == (None, 224, 224, 3)
    model = tiny(include_top=False)
    assert model.input_shape == (None, None, None, 3)
    assert model.output_shape == (None, None, None, 128)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 40)])
def test_dynamic_sizes_give_the_same_as_static_ones(size):
    static = tiny(input_shape=(*size, 3))
    dynamic = tiny(input_shape=(None, None, 3))
    dynamic.set_weights(static.get_weights())
    x = np.random.default_rng(0).standard_normal((2, *size, 3))
    np.testing.assert_allclose(
        static.predict(x, verbose=0), dynamic.predict(x, verbose=0), atol=1e-6
    )


@pytest.mark.parametrize("pooling, shape", [("avg", 2), ("max", 2), (None, 4)])
def test_pooling(pooling, shape):
    x = np.random.default_rng(0).standard_normal((1, 40, 40, 3))
    features = tiny(include_top=False)
    pooled = tiny(include_top=False, pooling=pooling)
    pooled.set_weights(features.get_weights())
    expected = features.predict(x, verbose=0)
    if pooling:
        reduce = np.mean if pooling == "avg" else np.max
        expected = reduce(expected, axis=(1, 2))
    y = pooled.predict(x, verbose=0)
    assert y.ndim == shape
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_input_tensor_may_follow_other_layers():
    image = keras.Input((40, 40, 1))
    model = tiny(input_tensor=keras.layers.Concatenate()([image] * 3))
    assert model.input_shape == (None, 40, 40, 1)
    plain = tiny(input_shape=(40, 40, 3))
    plain.set_weights(model.get_weights())
    x = np.random.default_rng(0).standard_normal((1, 40, 40, 1))
    np.testing.assert_allclose(
        model.predict(x, verbose=0),
        plain.predict(np.repeat(x, 3, axis=-1), verbose=0),
        atol=1e-6,
    )


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_any_number_of_input_channels(channels):
    model = tiny(input_shape=(32, 32, channels))
    assert model.get_layer("conv1_conv").kernel.shape[2] == channels


def test_channels_first_equals_channels_last(randomize):
    last = tiny(input_shape=(40, 36, 3), data_format="channels_last")
    first = tiny(input_shape=(3, 40, 36), data_format="channels_first")
    randomize(last)
    first.set_weights(last.get_weights())
    x = np.random.default_rng(0).standard_normal((2, 40, 36, 3))
    np.testing.assert_allclose(
        first.predict(x.transpose(0, 3, 1, 2), verbose=0),
        last.predict(x, verbose=0),
        atol=1e-5,
    )


def test_classifier_starts_as_pytorch_does():
    dense = tiny(classes=1000).get_layer("predictions")
    bound = 128**-0.5
    for values in dense.get_weights():
        assert 0.97 * bound < np.abs(values).max() <= bound
        assert abs(values.var() / (bound**2 / 3) - 1) < 0.15


def test_every_layer_has_the_dtype_policy():
    model = tiny(dtype="mixed_bfloat16")
    for layer in model.layers:
        if not isinstance(layer, keras.layers.InputLayer):
            assert layer.dtype_policy.name == "mixed_bfloat16", layer.name
    assert all(w.dtype == "float32" for w in model.weights)


@pytest.mark.parametrize(
    "dtype, of_input",
    [
        (None, "float32"),
        ("mixed_bfloat16", "float32"),
        ("float64", "float64"),
    ],
)
def test_model_and_input_have_the_dtype(dtype, of_input):
    model = tiny(dtype=dtype)
    assert model.dtype_policy.name == (dtype or "float32")
    assert model.input.dtype == of_input


def test_images_are_not_rounded_to_a_narrow_default():
    floatx = keras.config.floatx()
    try:
        keras.config.set_floatx("bfloat16")
        assert tiny(dtype="float32").input.dtype == "float32"
    finally:
        keras.config.set_floatx(floatx)


def test_mixed_float16_scales_the_loss():
    model = tiny(dtype="mixed_float16")
    model.compile("sgd", "mse")
    scale = keras.optimizers.LossScaleOptimizer
    assert isinstance(model.optimizer, scale)


def through_file(model, path):
    model.save(path / "model.keras")
    return keras.saving.load_model(path / "model.keras")


def through_config(model, path):
    return keras.Model.from_config(model.get_config())


def through_clone(model, path):
    return keras.models.clone_model(model)


@pytest.mark.parametrize("copy", [through_file, through_config, through_clone])
def test_frozen_layers_survive(copy, tmp_path):
    model = tiny(norm_eval=True)
    for name in ("conv1_conv", "conv2_block1_1_bn", "conv2_block1_out"):
        model.get_layer(name).trainable = False
    copied = copy(model, tmp_path)
    flags = {layer.name: layer.trainable for layer in model.layers[1:]}
    assert flags == {x.name: x.trainable for x in copied.layers[1:]}
    assert not copied.get_layer("conv1_conv").kernel.trainable
    assert copied.get_layer("conv1_bn").norm_eval


@pytest.mark.parametrize("copy", [through_file, through_config, through_clone])
def test_a_frozen_model_keeps_its_layers_frozen(copy, tmp_path):
    model = tiny()
    model.trainable = False
    copied = copy(model, tmp_path)
    assert not any(layer.trainable for layer in copied.layers[1:])


def test_prefix_stands_before_every_layer_name():
    plain, left = tiny(), tiny(prefix="left_")
    assert [layer.name for layer in left.layers[1:]] == [
        f"left_{layer.name}" for layer in plain.layers[1:]
    ]
    pooled = tiny(prefix="left_", include_top=False, pooling="max")
    assert pooled.layers[-1].name == "left_max_pool"


@pytest.mark.parametrize("build", [tiny, EPSANet50Small])
@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_classes": 10}, "`classes` instead of `num_classes`.*=10"),
        ({"image_shape": (64, 64, 3)}, "`input_shape` instead"),
        ({"class": 10}, "`classes` instead of `class`"),
        ({"qqq": 1}, r"EPSANet has no such argument. Received: qqq=1$"),
    ],
)
def test_unknown_arguments_are_refused(build, arguments, message):
    with pytest.raises(TypeError, match=message):
        build(**arguments)


@pytest.mark.parametrize(
    "data_format, shape, written",
    [
        ("channels_last", (3, 96, 96), r"\(96, 96, 3\)"),
        ("channels_last", (3, None, None), r"\(None, None, 3\)"),
        ("channels_first", (96, 64, 3), r"\(3, 96, 64\)"),
    ],
)
def test_a_shape_of_the_other_data_format_is_explained(
    data_format, shape, written
):
    other = {"channels_last": "channels_first"}.get(
        data_format, "channels_last"
    )
    message = f'looks like {other}.*write {written}, or data_format="{other}"'
    with pytest.raises(ValueError, match=message):
        tiny(input_shape=shape, data_format=data_format)


def test_a_small_image_is_not_taken_for_another_data_format():
    with pytest.raises(ValueError, match="width. Received"):
        tiny(input_shape=(31, 64, 3))


@pytest.fixture
def raw_images():
    """Of 36×40 pixels, as files have them."""
    images = np.random.default_rng(0).integers(0, 256, (2, 36, 40, 3))
    return images.astype("float32")


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_model_may_normalize_its_images_itself(
    data_format, raw_images, randomize, tmp_path
):
    shape = (36, 40, 3)
    if data_format == "channels_first":
        raw_images = raw_images.transpose(0, 3, 1, 2)
        shape = (3, 36, 40)
    options = {"input_shape": shape, "data_format": data_format}
    plain = randomize(tiny(**options))
    model = tiny(**options, include_preprocessing=True)
    model.set_weights(plain.get_weights())
    wanted = plain.predict(
        keras_epsanet.preprocess_input(raw_images, data_format), verbose=0
    )
    found = model.predict(raw_images, verbose=0)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    copied = through_file(model, tmp_path)
    np.testing.assert_allclose(
        copied.predict(raw_images, verbose=0), wanted, atol=1e-5
    )


@pytest.mark.parametrize("channels", [1, 4])
def test_only_rgb_images_are_normalized(channels):
    with pytest.raises(ValueError, match=f"3 channels.*32, 32, {channels}"):
        tiny(input_shape=(32, 32, channels), include_preprocessing=True)


@once
@pytest.mark.parametrize("of_file", [True, False])
@pytest.mark.parametrize("ending", [".weights.h5", ".keras"])
def test_files_fit_whether_a_model_normalizes_or_not(
    of_file, ending, randomize, tmp_path
):
    path = tmp_path / f"model{ending}"
    model = randomize(tiny(include_preprocessing=of_file))
    save = model.save if ending == ".keras" else model.save_weights
    save(path)
    for include in (True, False):
        loaded = tiny(include_preprocessing=include, weights=path)
        for ours, theirs in zip(
            loaded.get_weights(), model.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    if ending == ".weights.h5":
        other = tiny(include_preprocessing=not of_file)
        other.load_weights(path)
        for ours, theirs in zip(other.get_weights(), model.get_weights()):
            np.testing.assert_array_equal(ours, theirs)


@once
def test_a_model_that_normalizes_is_like_the_others(raw_images, randomize):
    model = randomize(tiny(input_shape=(36, 40, 3), include_preprocessing=True))
    plain = tiny(input_shape=(36, 40, 3))
    assert complexity(model).flops == complexity(plain).flops
    assert complexity(model).parameters == complexity(plain).parameters
    np.testing.assert_allclose(
        fuse(model).predict(raw_images, verbose=0),
        model.predict(raw_images, verbose=0),
        atol=1e-5,
    )


@once
def test_pytorch_s_weights_fit_a_model_that_normalizes(randomize, tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "model.pth"
    model = randomize(tiny(include_preprocessing=True))
    keras_epsanet.save_torch_weights(model, path)
    for include in (True, False):
        loaded = tiny(include_preprocessing=include)
        keras_epsanet.load_torch_weights(loaded, path)
        for ours, theirs in zip(
            loaded.get_weights(), model.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


def test_pixels_are_normalized_in_single_precision_at_least():
    for dtype, wanted in (
        ("mixed_bfloat16", "float32"),
        ("float16", "float32"),
        ("float64", "float64"),
    ):
        model = tiny(dtype=dtype, include_preprocessing=True, prefix="left_")
        assert model.get_layer("left_rescaling").compute_dtype == wanted


def test_several_inputs_before_the_network():
    left, right = keras.Input((32, 32, 1)), keras.Input((32, 32, 2))
    x = keras.layers.Concatenate()([left, right])
    model = tiny(input_tensor=x)
    assert len(model.inputs) == 2
    single = tiny(input_tensor=left)
    assert single.input is left


def test_arguments_are_those_of_resnet50():
    ours = inspect.signature(EPSANet50Small).parameters
    theirs = inspect.signature(keras.applications.ResNet50).parameters
    assert list(ours) == [*theirs, "include_preprocessing", "kwargs"]
    for name, parameter in theirs.items():
        if name not in ("weights", "name"):
            assert ours[name].default == parameter.default, name
    assert ours["weights"].default is None


def test_layer_names_follow_keras_applications():
    names = {layer.name for layer in EPSANet50Small(classes=2).layers}
    resnet = keras.applications.ResNet50(weights=None)
    for layer in resnet.layers:
        name = layer.name
        if "_2_conv" in name:
            name = name.replace("_2_conv", "_psa")
        if "pad" in name and name.startswith("conv1"):
            continue  # The convolution pads by itself.
        if not name.startswith("input_layer"):
            assert name in names


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"input_shape": (31, 64, 3)}, r"at least 32 .*\(31, 64, 3\)"),
        ({"input_shape": (224, 224)}, r"3 entries.*\(224, 224\)"),
        ({"input_shape": 224}, "3 entries.*input_shape=224"),
        ({"input_shape": (64, 64, None)}, "channels must be known"),
        ({"pooling": "mean"}, '"avg" or "max". .*=.mean.$'),
        ({"classes": 0}, "positive integer. Received: classes=0"),
        ({"classes": "ten"}, "positive integer. Received: classes='ten'"),
        ({"stackwise_num_blocks": (1,)}, "one entry for each stage"),
        ({"data_format": "NHWC"}, "data_format=nhwc"),
        ({"reduction": 9}, "reduction=8 would fit"),
        ({"prefix": "a/b"}, 'without "/". Received: prefix=.a/b.$'),
        ({"prefix": 1}, "Received: prefix=1"),
        ({"input_tensor": np.ones((1, 64, 64, 3))}, "must be a Keras tensor"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        tiny(**arguments)


def test_wrong_rank_of_a_batch_is_refused():
    with pytest.raises(ValueError, match="expected (shape|ndim|min_ndim)"):
        tiny(input_shape=(32, 32, 3))(ops.ones((32, 32, 3)))


def test_synchronized_reaches_every_batch_normalization():
    if keras.backend.backend() != "tensorflow":
        with pytest.raises(ValueError, match="synchronized"):
            tiny(synchronized=True)
        return
    model = tiny(synchronized=True)
    layers = [x for x in model.layers if x.name.endswith("_bn")]
    assert layers and all(layer.synchronized for layer in layers)
