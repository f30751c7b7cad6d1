"""What layers weigh, against what they compute with it."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet import EPSANet, explain, fuse
from keras_epsanet.attention import (
    BAM,
    CBAM,
    ECA,
    EMA,
    FCA,
    SE,
    SRM,
    AttentionBranch,
    CoordinateAttention,
    GlobalContext,
    GSoP,
    NonLocal,
    SelectiveKernel,
    ShuffleAttention,
    SimAM,
    SplitAttention,
    TripletAttention,
)
from keras_epsanet.explain import attention_weights
from keras_epsanet.explain.attention_weights import stage_of
from keras_epsanet.layers import PSA, ClassNames

SHAPE = (2, 6, 8, 16)
FORMATS = ("channels_last", "channels_first")
if keras.backend.backend() != "torch":
    FORMATS = FORMATS[:1]  # Others lack convolutions for it on a CPU.


def images_and_model(layer, data_format="channels_last"):
    """Images and a model of one layer with weights that are not neutral."""
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=SHAPE).astype("float32")
    if data_format == "channels_first":
        x = np.moveaxis(x, -1, 1)
    image = keras.Input(x.shape[1:])
    model = keras.Model(image, layer(image))
    random = np.random.default_rng(1)
    for weight in layer.weights:
        if "moving" not in weight.path:
            value = 0.5 * random.normal(size=weight.shape)
            weight.assign(value.astype("float32"))
    return x, model


def call(layer, x):
    return ops.convert_to_numpy(layer(ops.convert_to_tensor(x)))


def spread(values, data_format):
    if data_format == "channels_last":
        return values[:, None, None, :]
    return values[:, :, None, None]


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("cls", [SE, ECA, FCA, SRM, GSoP])
def test_channels_are_multiplied_by_their_weights(cls, data_format):
    small = {"reduction": 4}
    arguments = {SE: small, FCA: small, GSoP: {"filters": 4}}.get(cls, {})
    layer = cls(data_format=data_format, name="conv2_block1_x", **arguments)
    x, model = images_and_model(layer, data_format)
    (found,) = explain.attention(model, x).layers
    assert (found.kind, found.stage) == (cls.__name__, "conv2")
    assert found.pixels is None and found.scales is None
    assert explain.attention(model, x).predicted is None
    assert found.channels.shape == (2, 16)
    assert found.channels.std() > 0.01
    np.testing.assert_allclose(
        call(layer, x), x * spread(found.channels, data_format), atol=1e-5
    )


@pytest.mark.parametrize("data_format", FORMATS)
def test_gates_of_cbam_are_those_of_channels_times_pixels(data_format):
    layer = CBAM(reduction=4, data_format=data_format)
    x, model = images_and_model(layer, data_format)
    (found,) = explain.attention(model, x).layers
    # A gate is the product of one of the channel and one of the pixel.
    gates = found.channels[:, None, None] * found.pixels[..., None]
    gates /= found.channels.mean(axis=-1)[:, None, None, None]
    if data_format == "channels_first":
        gates = np.moveaxis(gates, -1, 1)
    np.testing.assert_allclose(call(layer, x), x * gates, atol=1e-5)


def test_gates_of_coordinate_attention_are_those_of_rows_and_columns():
    """Whatever the input is that passes the gates, they multiply it."""
    for layer in (
        CoordinateAttention(),
        BAM(reduction=4),
        EMA(groups=4),
        TripletAttention(),
        SimAM(),
    ):
        x, model = images_and_model(layer)
        (found,) = explain.attention(model, x).layers
        gates = call(layer, x) / x
        np.testing.assert_allclose(found.channels, gates.mean((1, 2)), 1e-4)
        np.testing.assert_allclose(found.pixels, gates.mean(-1), 1e-4)


@pytest.mark.parametrize("data_format", FORMATS)
def test_shuffled_channels_are_put_back(data_format):
    layer = ShuffleAttention(groups=2, data_format=data_format)
    x, model = images_and_model(layer, data_format)
    # All gates but one are closed: that of the third channel.
    for weight in layer.weights:
        weight.assign(np.zeros(weight.shape))
    bias = np.full(layer.channel_bias.shape, -20.0)
    layer.spatial_bias.assign(bias)
    bias[2] = 20
    layer.channel_bias.assign(bias)
    (found,) = explain.attention(model, x).layers
    open_channels = [2, 10]  # One in each group.
    expected = np.isin(np.arange(16), open_channels).astype("float32")
    np.testing.assert_allclose(found.channels, [expected] * 2, atol=1e-6)


def test_a_channel_of_zeros_has_no_weight():
    layer = SE(reduction=4)
    x, model = images_and_model(layer)
    x[0, :, :, 3] = 0
    (found,) = explain.attention(model, x).layers
    assert np.isnan(found.channels[0, 3])
    assert np.isnan(found.channels).sum() == 1


@pytest.mark.parametrize("data_format", FORMATS)
def test_pixels_of_the_global_context(data_format):
    layer = GlobalContext(reduction=4, data_format=data_format)
    x, model = images_and_model(layer, data_format)
    (found,) = explain.attention(model, x).layers
    logits = ops.convert_to_numpy(layer.mask_conv(ops.convert_to_tensor(x)))
    shares = np.exp(logits.reshape(2, 6, 8))
    shares /= shares.sum((1, 2), keepdims=True)
    np.testing.assert_allclose(found.pixels, shares, atol=1e-6)


def test_map_of_the_attention_branch():
    layer = AttentionBranch(classes=3)
    x, model = images_and_model(layer)
    (found,) = explain.attention(model, x[:1]).layers
    expected = ops.convert_to_numpy(model(x[:1])[0])[..., 0]
    np.testing.assert_allclose(found.pixels, expected, atol=1e-6)


@pytest.mark.parametrize(
    "layer, names",
    [
        (
            SelectiveKernel(16, dilations=(1, 2), groups=4),
            ("dilation 1", "dilation 2"),
        ),
        (SplitAttention(16, radix=2), ("part 1", "part 2")),
    ],
)
def test_parts_compete(layer, names):
    x, model = images_and_model(layer)
    (found,) = explain.attention(model, x).layers
    assert found.scale_names == names and found.scales.shape == (2, 2, 16)
    np.testing.assert_allclose(found.scales.sum(1), 1, atol=1e-5)
    assert found.scales.std() > 0.01


@pytest.mark.parametrize("data_format", FORMATS)
def test_weights_and_maps_of_psa(data_format):
    layer = PSA(16, (3, 5), (1, 2), reduction=4, data_format=data_format)
    x, model = images_and_model(layer, data_format)
    (found,) = explain.attention(model, x).layers
    y, weights = layer(ops.convert_to_tensor(x), return_attention=True)
    y, weights = map(ops.convert_to_numpy, (y, weights))
    assert found.scale_names == ("3×3", "5×5") and found.stage == "16 channels"
    np.testing.assert_allclose(found.scales, weights, atol=1e-6)
    if data_format == "channels_first":
        y = np.moveaxis(y, 1, -1)
    expected = [np.abs(y[..., :8]).mean(-1), np.abs(y[..., 8:]).mean(-1)]
    np.testing.assert_allclose(
        found.scale_maps, np.stack(expected, 1), atol=1e-5
    )


def network(**kwargs):
    keras.utils.set_random_seed(0)
    return EPSANet(
        (2, 1),
        (16, 32),
        (3, 5),
        (1, 4),
        reduction=4,
        classes=3,
        input_shape=(None, None, 3),
        **kwargs,
    )


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).normal(size=(5, 32, 48, 3))


def test_stages_have_the_mean_of_their_blocks(pictures):
    model = network()
    found = explain.attention(model, pictures, batch_size=2)
    names = [f"conv2_block{i}_psa" for i in (1, 2)] + ["conv3_block1_psa"]
    assert [layer.name for layer in found.layers] == names
    stages = found.scales_by_stage()
    means = [layer.scales.mean(-1) for layer in found.layers]
    np.testing.assert_allclose(stages["conv2"], (means[0] + means[1]) / 2)
    np.testing.assert_allclose(stages["conv3"], means[2])
    np.testing.assert_allclose(stages["conv3"].sum(-1), 1, atol=1e-5)
    outputs = ops.convert_to_numpy(model(pictures))
    np.testing.assert_array_equal(found.predicted, outputs.argmax(-1))
    assert found.class_names is None


def test_layers_in_a_model_in_a_model_are_read(pictures):
    inner = network()
    image = keras.Input((None, None, 3))
    names = ClassNames(["a", "b", "c"])
    model = keras.Model(image, names(inner(image)))
    expected = explain.attention(inner, pictures)
    found = explain.attention(model, pictures)
    assert found.class_names == ["a", "b", "c"]
    for one, other in zip(found.layers, expected.layers, strict=True):
        assert one.name == f"epsanet/{other.name}"
        np.testing.assert_allclose(one.scales, other.scales, atol=1e-6)


def test_a_fused_model_weighs_the_same(pictures):
    model = network()
    expected = explain.attention(model, pictures)
    found = explain.attention(fuse(model), pictures)
    for one, other in zip(found.layers, expected.layers, strict=True):
        assert one.kind == "FusedPSA"
        np.testing.assert_allclose(one.scales, other.scales, atol=1e-5)
        np.testing.assert_allclose(one.scale_maps, other.scale_maps, atol=1e-4)


def test_nothing_of_the_layers_is_left_behind(pictures):
    model = network()
    before = [set(vars(layer)) for layer in model.layers]
    explain.attention(model, pictures)
    assert [set(vars(layer)) for layer in model.layers] == before


def test_stages_of_names():
    layer = PSA(64)
    assert stage_of("net/conv4_block12_psa", layer) == "conv4"
    assert stage_of("psa_1", layer) == "64 channels"
    assert stage_of("se_1", SE()) == "se_1"


def test_a_model_without_attention_is_refused(pictures):
    image = keras.Input((None, None, 3))
    model = keras.Model(image, NonLocal(reduction=1)(image))
    with pytest.raises(ValueError, match="PSA, SelectiveKernel.*SimAM"):
        explain.attention(model, pictures)
    with pytest.raises(ValueError, match="batch_size=0"):
        explain.attention(model, pictures, batch_size=0)


def test_channels_first_are_read_on_any_backend():
    """The arrays alone, for most backends cannot compute the layers."""
    first = {"data_format": "channels_first"}
    branch = AttentionBranch(classes=3, **first)
    branch.build((None, 16, 6, 8))
    maps = np.random.default_rng(0).normal(size=(2, 1, 6, 8))
    found = attention_weights._only_channel(branch, maps)
    np.testing.assert_allclose(found, maps[:, 0], rtol=1e-6)
    context = GlobalContext(reduction=4, **first)
    seen = {"pixels": np.arange(96).reshape(2, 48)}
    rows = attention_weights._in_rows(context, np.ones((2, 16, 6, 8)), seen)
    assert rows.shape == (2, 6, 8) and rows[1, 0, 7] == 55
    x = np.random.default_rng(1).uniform(1, 2, (2, 16, 6, 8))
    gates = np.random.default_rng(2).uniform(1, 2, (2, 16, 6, 8))
    found = attention_weights._gates(CBAM(**first), x, x * gates)
    np.testing.assert_allclose(found["channels"], gates.mean((2, 3)), 1e-5)
    np.testing.assert_allclose(found["pixels"], gates.mean(1), 1e-5)
    psa = PSA(16, (3, 5), (1, 2), reduction=4, **first)
    factors = np.array([[1.0] * 8 + [2] * 8, [3] * 16])
    found = attention_weights._scale_maps(psa, -x, factors)
    expected = [x[0, :8].mean(0), 2 * x[0, 8:].mean(0)]
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)
