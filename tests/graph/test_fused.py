import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_epsanet.graph.fuse import fuse
from keras_epsanet.graph.fused import FusedModel, FusedPSA
from keras_epsanet.layers import PSA

PYRAMID = {
    "filters": 8,
    "kernel_sizes": (3, 5),
    "groups": (1, 4),
    "reduction": 2,
}


def make(*names, last=None):
    """A model of a PSA and of layers with these names."""
    x = image = keras.Input((6, 6, 8))
    x = PSA(**PYRAMID, name="psa")(x)
    for name in names:
        x = layers.ReLU(name=name)(x)
    return FusedModel(image, last(x) if last else x, name="fused")


@pytest.mark.parametrize(
    "names, levels",
    [
        (
            ("conv2_block1_out", "conv2_block3_out", "conv13_block12_out"),
            {"P2": "conv2_block3_out", "P13": "conv13_block12_out"},
        ),
        (("left_conv2_block1_out",), {"P2": "left_conv2_block1_out"}),
        # What is behind the last level is no backbone's.
        (("conv2_block1_out", "other"), None),
        (("conv2_block1_outer",), None),
        ((), None),
    ],
)
def test_a_clone_finds_the_levels_by_their_names(names, levels):
    model = make(*names)
    assert model.pyramid_level_inputs == levels
    outputs = model.pyramid_outputs
    if levels is None:
        assert outputs is None
        return
    assert list(outputs) == list(levels)
    for level, name in levels.items():
        assert outputs[level] is model.get_layer(name).output


def test_levels_are_those_of_the_config():
    model = make("conv2_block1_out", "other")
    model._pyramid_levels = {"P7": "other"}
    config = model.get_config()
    assert config["pyramid_level_inputs"] == {"P7": "other"}
    copy = FusedModel.from_config(config)
    assert copy.pyramid_level_inputs == {"P7": "other"}
    assert config["pyramid_level_inputs"] == {"P7": "other"}
    copy = FusedModel.from_config({**config, "pyramid_level_inputs": None})
    assert copy.pyramid_level_inputs is None


def test_no_training():
    model = make()
    assert model.trainable is False and model.trainable_weights == []
    model.trainable = True
    assert model.trainable is False and model.trainable_weights == []
    for method in ("fit", "train_on_batch"):
        with pytest.raises(ValueError, match=rf"Received: {method}\(…\)"):
            getattr(model, method)(np.ones((1, 6, 6, 8)))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_features_are_scaled_and_shifted_by_channel(data_format):
    # As many rows and columns as channels, so that all shapes fit.
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 8))
    psa, fused = (
        cls(**PYRAMID, data_format=data_format) for cls in (PSA, FusedPSA)
    )
    expected, attention = psa(x, return_attention=True)
    fused.build(x.shape)
    names = [weight.name for weight in fused.weights]
    assert {"scale", "shift"} < set(names)
    assert len(fused.trainable_weights) == len(psa.weights)
    fused.spc.set_weights(psa.spc.get_weights())
    fused.se.set_weights(psa.se.get_weights())
    scale, shift = np.random.default_rng(1).standard_normal((2, 8))
    fused.scale.assign(scale)
    fused.shift.assign(shift)
    y, of_fused = fused(x, return_attention=True)
    if data_format == "channels_first":
        scale, shift = scale[:, None, None], shift[:, None, None]
    expected = ops.convert_to_numpy(expected) * scale + shift
    np.testing.assert_allclose(ops.convert_to_numpy(y), expected, atol=1e-5)
    np.testing.assert_allclose(
        ops.convert_to_numpy(of_fused),
        ops.convert_to_numpy(attention),
        atol=1e-6,
    )


def make_normed(**kwargs):
    """A model of a PSA, whose groups have two inputs and outputs, and norm."""
    image = keras.Input((6, 6, 8), batch_size=2)
    if kwargs.get("data_format") == "channels_first":
        image = keras.Input((8, 6, 6), batch_size=2)
    x = PSA(16, (3, 5), (1, 4), reduction=2, name="psa", **kwargs)(image)
    axis = 1 if kwargs.get("data_format") == "channels_first" else -1
    return keras.Model(image, layers.BatchNormalization(axis)(x))


@pytest.mark.parametrize(
    "arguments, channels, groups, depthwise",
    [
        ({}, 8, 1, None),
        ({}, 16, 4, [False, True]),
        ({"strides": 2}, 16, 4, [False, True]),
        # What has no depthwise form has merged groups.
        ({"strides": (1, 2)}, 16, 1, None),
        ({"data_format": "channels_first"}, 16, 1, None),
        ({"layout": "channels_first"}, 16, 1, None),
    ],
)
def test_narrow_groups_become_depthwise_convolutions(
    tmp_path, arguments, channels, groups, depthwise
):
    model = make_normed(**arguments)
    fused = fuse(model, channels)
    fused.save(tmp_path / "model.keras")
    images = np.random.default_rng(0).normal(size=model.input_shape)
    expected = model.predict(images, verbose=0)
    for each in (fused, keras.saving.load_model(tmp_path / "model.keras")):
        psa = each.get_layer("psa")
        assert psa.depthwise == depthwise and psa.groups == (1, groups)
        found = each.predict(images, verbose=0)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="needs tf2onnx alone"
)
@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("channels, depthwise", [(8, 0), (16, 2)])
def test_onnx_gets_depthwise_convolutions(
    tmp_path, within, channels, depthwise
):
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    model = fuse(make_normed(), channels)
    if within:
        image = keras.Input((6, 6, 8), batch_size=2)
        model = keras.Model(image, layers.ReLU()(model(image)))
    path = str(tmp_path / "model.onnx")
    images = np.random.default_rng(0).normal(size=(2, 6, 6, 8)).astype("f")
    expected = model.predict(images, verbose=0)
    model.export(path, format="onnx", verbose=False)
    groups = [
        attribute.i
        for node in onnx.load(path).graph.node
        for attribute in node.attribute
        if node.op_type == "Conv" and attribute.name == "group"
    ]
    assert groups.count(8) == depthwise
    session = onnxruntime.InferenceSession(path)
    found = session.run(None, {session.get_inputs()[0].name: images})[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
