import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet import EPSANet, ResNet, complexity, fuse
from keras_epsanet.layers import GroupedConv2D
from keras_epsanet.models.epsanet import pyramid_attention
from keras_epsanet.models.named_attention import NAMED, NETWORKS
from keras_epsanet.models.resnet_variants import network_arguments

BACKEND = keras.backend.backend()
FILTERS = (64, 64, 64, 64)  # Enough for the groups of all attentions.


def tiny(attention=None, **kwargs):
    """A network in which each attention has a place."""
    network = {
        "stackwise_num_blocks": (1, 2, 2, 1),
        "stackwise_num_filters": FILTERS,
        "input_shape": (64, 64, 3),
        "classes": 5,
        **NETWORKS.get(attention, {}),
        **kwargs,
    }
    network["stackwise_num_filters"] = kwargs.get(
        "stackwise_num_filters", FILTERS
    )
    network["expansion"] = 4
    return ResNet(attention=attention, **network)


def images(n=4, size=64, channels=3):
    x = np.random.default_rng(0).standard_normal((n, size, size, channels))
    return x.astype("float32")


def cross_entropy(outputs):
    losses = [
        keras.losses.sparse_categorical_crossentropy(
            ops.arange(4) % 5, logits, from_logits=True
        )
        for logits in (outputs if isinstance(outputs, list) else [outputs])
    ]
    return ops.mean(sum(losses))


# XLA compiles a network for half a minute.
NAMES = [
    pytest.param(
        name,
        marks=[pytest.mark.large]
        * (BACKEND == "jax" and name not in (None, "eca", "split")),
    )
    for name in (None, *NAMED)
]


# What is added to all that a softmax compares changes nothing.
INVARIANT = ("mask_conv/bias", "gather_conv/bias", "phi/bias")


@pytest.mark.parametrize("name", NAMES)
def test_a_step_moves_every_weight(name, value_and_gradients):
    model = tiny(name, classifier_activation=None, branch_output=name == "abn")
    # All that starts at zero hides what is in front of it.
    random = np.random.default_rng(1)
    for weight in model.trainable_weights:
        if weight.path.endswith("fc1/bias"):
            # SEWeight has one hidden unit here, which must not be dead.
            weight.assign(np.ones(weight.shape))
        elif not ops.convert_to_numpy(weight.value).any():
            weight.assign(0.1 * random.standard_normal(weight.shape))
    loss, _, gradients = value_and_gradients(
        model, images(), cross_entropy, training=True
    )
    assert np.isfinite(loss)
    silent = [
        weight.path
        for weight, gradient in zip(model.trainable_weights, gradients)
        if not (np.isfinite(gradient).all() and np.any(gradient))
        and not weight.path.endswith(INVARIANT)
    ]
    assert silent == []


@pytest.mark.skipif(BACKEND == "jax", reason="minutes of compilation")
@pytest.mark.parametrize("name", [None, *NAMED])
def test_data_formats_agree_and_a_file_has_all(name, randomize, tmp_path):
    model = tiny(name, input_shape=(None, None, 3))
    randomize(model)
    x = images(2, 75)
    expected = model.predict(x, verbose=0)
    other = tiny(
        name, input_shape=(3, None, None), data_format="channels_first"
    )
    other.set_weights(model.get_weights())
    if BACKEND == "tensorflow":  # Its CPU has no kernels of this format.
        result = ops.convert_to_numpy(other(x.transpose(0, 3, 1, 2)))
    else:
        result = other.predict(x.transpose(0, 3, 1, 2), verbose=0)
    np.testing.assert_allclose(result, expected, atol=2e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded.predict(x, verbose=0), expected, atol=1e-6
    )


def test_psa_makes_an_epsanet():
    pyramid = {"kernel_sizes": (3, 5, 7, 9), "groups": (1, 4, 8, 16)}
    ours = tiny("psa")
    epsanet = EPSANet(
        (1, 2, 2, 1), FILTERS, **pyramid, input_shape=(64, 64, 3), classes=5
    )
    names = [
        [(layer.name, type(layer)) for layer in model.layers[1:]]
        for model in (ours, epsanet)
    ]
    assert names[0] == names[1]
    ours.set_weights(epsanet.get_weights())
    x = images(2)
    np.testing.assert_array_equal(
        ours.predict(x, verbose=0), epsanet.predict(x, verbose=0)
    )


def test_without_attention_it_is_an_epsanet_of_one_scale(randomize):
    ours, epsanet = (
        ResNet((1, 2), (16, 32), None, input_shape=(40, 33, 3), classes=5),
        EPSANet(
            (1, 2), (16, 32), (3,), (1,), input_shape=(40, 33, 3), classes=5
        ),
    )
    randomize(epsanet)
    for layer in ours.layers:
        name = layer.name
        if name.endswith("_2_conv"):
            psa = epsanet.get_layer(name.replace("2_conv", "psa"))
            layer.kernel.assign(psa.spc.convolutions[0].kernel)
        elif layer.weights:
            layer.set_weights(epsanet.get_layer(name).get_weights())
    x = images(2)[:, :40, :33]
    np.testing.assert_allclose(
        ours.predict(x, verbose=0), epsanet.predict(x, verbose=0), atol=1e-6
    )


@pytest.mark.parametrize("downsampling", ["max", "average"])
@pytest.mark.parametrize("size", [64, 75])
def test_poolings_of_the_shortcut(downsampling, size):
    """The published modules' poolings, computed pixel by pixel."""
    model = ResNet(
        (1, 1),
        (8, 8),
        downsampling=downsampling,
        include_top=False,
        input_shape=(size, size, 1),
    )
    layers = [x.name for x in model.layers]
    assert "conv3_block1_0_pool" in layers
    assert not any(x.startswith("conv2") and "pool" in x for x in layers)
    get = model.get_layer
    pooled = keras.Model(
        model.input,
        [get("conv2_block1_out").output, get("conv3_block1_0_pool").output],
    )
    x, y = (ops.convert_to_numpy(v) for v in pooled(images(1, size, 1)))
    height = x.shape[1]
    assert y.shape[1] == -(-height // 2)
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            if downsampling == "max":
                rows = slice(max(2 * i - 1, 0), 2 * i + 2)
                columns = slice(max(2 * j - 1, 0), 2 * j + 2)
                expected = x[0, rows, columns].max(axis=(0, 1))
            else:
                window = x[0, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
                expected = window.mean(axis=(0, 1))
            np.testing.assert_allclose(y[0, i, j], expected, atol=1e-6)


def test_average_pooling_behind_the_convolution_counts_zeros():
    model = ResNet(
        (1, 1),
        (8, 8),
        downsampling="average",
        include_top=False,
        input_shape=(64, 64, 1),
    )
    layer = model.get_layer("conv3_block1_2_pool")
    before = model.get_layer("conv3_block1_2_relu").output
    both = keras.Model(model.input, [before, layer.output])
    x, y = both.predict(images(1, 64, 1), verbose=0)
    np.testing.assert_allclose(
        y[0, 0, 0], x[0, :2, :2].sum(axis=(0, 1)) / 9, atol=1e-6
    )
    assert model.get_layer("conv3_block1_2_conv").strides == (1, 1)


def test_a_stem_of_several_convolutions_or_without_pooling():
    model = ResNet(
        (1,), (8,), stem_filters=(4, 6, 8), input_shape=(64, 64, 3), classes=2
    )
    kernels = [
        tuple(model.get_layer(name).kernel.shape)
        for name in ("conv1_conv", "conv1_2_conv", "conv1_3_conv")
    ]
    assert kernels == [(3, 3, 3, 4), (3, 3, 4, 6), (3, 3, 6, 8)]
    assert model.get_layer("conv2_block1_out").output.shape[1:3] == (16, 16)
    model = ResNet(
        (1,), (8,), stem_pool=False, input_shape=(64, 64, 3), classes=2
    )
    assert "pool1_pool" not in [layer.name for layer in model.layers]
    assert model.get_layer("conv2_block1_1_conv").output.shape[1:3] == (32, 32)
    assert model.get_layer("conv2_block1_out").output.shape[1:3] == (16, 16)


@pytest.mark.parametrize("name", ["bam", "a2", "non_local"])
def test_attention_behind_blocks_is_what_follows_sees(name):
    model = tiny(name)
    found = [x for x in model.layers if x.name.endswith(f"_{name}")]
    places = {
        "bam": ["conv2_block1", "conv3_block2", "conv4_block2"],
        "a2": ["conv3_block2", "conv4_block2"],
        "non_local": ["conv4_block1"],
    }[name]
    assert [x.name for x in found] == [f"{x}_{name}" for x in places]
    for layer in found:
        block = layer.name.removesuffix(f"_{name}")
        assert layer.input is model.get_layer(f"{block}_out").output


def test_the_branch_is_an_output_of_its_own():
    model = tiny("abn", branch_output=True, classifier_activation=None)
    assert model.output_shape == [(None, 5), (None, 5)]
    main, branch = model.predict(images(2), verbose=0)
    alone = tiny("abn", classifier_activation=None)
    alone.set_weights(model.get_weights())
    np.testing.assert_array_equal(alone.predict(images(2), verbose=0), main)
    assert np.abs(main - branch).max() > 0
    # What the last stage gets is f * map + f.
    get = model.get_layer
    parts = [
        get("conv4_block2_out").output,
        get("conv5_abn").output[0],
        get("conv5_branch_add").output,
    ]
    x, weights, y = keras.Model(model.input, parts).predict(
        images(2), verbose=0
    )
    np.testing.assert_allclose(y, x * (1 + weights), atol=1e-6)


@pytest.mark.parametrize("name", ["se", "split", "simam"])
def test_fused_it_is_the_same(name, randomize):
    model = tiny(name)
    randomize(model)
    x = images(2)
    np.testing.assert_allclose(
        fuse(model).predict(x, verbose=0),
        model.predict(x, verbose=0),
        atol=1e-5,
    )


@pytest.mark.skipif(BACKEND != "tensorflow", reason="counts are the same")
@pytest.mark.parametrize(
    "variant, name, parameters, macs, flops",
    [
        ("resnet50", None, 25_557_032, 4.0892, 4.1219),
        ("resnet50", "psa", 22_561_715, 3.5979, 3.6320),
        ("resnet50", "abn", 43_584_866, 7.6170, None),
        ("resnet50", "aa", 25_813_872, 4.2269, 4.2596),
        ("resnet50", "pyconv", 24_847_720, None, None),
        ("resnet50", "sk", 27_479_784, None, None),
        ("resnet50", "split", 27_483_240, None, None),
        ("resnet50", "res2net", 25_699_120, None, None),
        pytest.param(
            *("resnet101", "split", 48_275_016, None, None),
            marks=pytest.mark.large,
        ),
        pytest.param(
            *("resnet101", "eca", 44_549_317, 7.8016, 7.8586),
            marks=pytest.mark.large,
        ),
        pytest.param(
            *("resnet101", "bam", 44_907_227, 7.8836, 7.9341),
            marks=pytest.mark.large,
        ),
        pytest.param(
            *("resnet101", "res2net", 45_206_688, None, None),
            marks=pytest.mark.large,
        ),
    ],
)
def test_published_counts(variant, name, parameters, macs, flops):
    model = ResNet(attention=name, **network_arguments(variant, name))
    counts = complexity(model)
    assert counts.parameters == parameters
    assert macs is None or round(counts.macs / 1e9, 4) == macs
    if flops is not None:
        counts = complexity(model, convention="table3")
        # Keras' pooling sees the zeros around its input, PyTorch's does not.
        zeros = 64 * (114**2 - 112**2)
        assert round((counts.flops - zeros) / 1e9, 4) == flops


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"downsampling": "avg"}, "`downsampling` must be"),
        ({"stem_filters": ()}, "`stem_filters` must have"),
        ({"branch_output": True}, "`branch_output` is of"),
        ({"attention": "see"}, 'Is "se" meant'),
        ({"weights": "imagenet"}, "imagenet"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResNet((1,), (16,), **arguments)


def test_unknown_arguments_are_refused():
    with pytest.raises(TypeError, match="`downsampling` instead of"):
        ResNet((1,), (16,), downsample="max")


@pytest.mark.parametrize(
    "frame",
    [
        {"stem_filters": (4, 6, 8)},
        {"stem_pool": False},
        {"downsampling": "average"},
        {"expansion": 2},
        {"data_format": "channels_first"},
        {"dtype": "float64"},
        {"input_shape": (32, 32, 1)},
    ],
    ids=lambda frame: next(iter(frame)),
)
def test_weights_of_any_frame_come_back(frame, tmp_path):
    """Keras' files are read by another network of the same frame."""
    arguments = {"input_shape": (32, 32, 3), **frame}
    if "data_format" in frame:
        arguments["input_shape"] = (3, 32, 32)
    attention = pyramid_attention((3, 5), (1, 2), reduction=4)
    model = ResNet((1, 1), (8, 16), attention, classes=3, **arguments)
    path = tmp_path / "frame.weights.h5"
    model.save_weights(path)
    copy = ResNet(
        (1, 1), (8, 16), attention, weights=path, classes=3, **arguments
    )
    for ours, theirs in zip(
        copy.get_weights(), model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("build", [ResNet, EPSANet])
def test_the_data_format_is_keras_own_unless_given(build):
    def build_with(**arguments):
        if build is EPSANet:
            arguments.update(kernel_sizes=(3, 5), groups=(1, 4))
        return build((1,), (64,), include_top=False, **arguments)

    before = keras.config.image_data_format()
    other = {
        "channels_last": "channels_first",
        "channels_first": "channels_last",
    }[before]
    shapes = {
        "channels_first": (None, 3, None, None),
        "channels_last": (None, None, None, 3),
    }
    keras.config.set_image_data_format(other)
    try:
        model = build_with()
        assert model.input_shape == shapes[other]
        formats = {
            layer.data_format
            for layer in model._flatten_layers()
            if isinstance(layer, GroupedConv2D)
        }
        assert formats == {other}
        assert build_with(data_format=before).input_shape == shapes[before]
    finally:
        keras.config.set_image_data_format(before)
