"""Networks in folders of timm, there and back."""

import json
import sys

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANet, EPSANetBackbone, preprocess_input
from keras_epsanet.hub import timm_folders, timm_networks
from keras_epsanet.weights.attention_names import PLAIN

safetensors = pytest.importorskip("safetensors.numpy")

SMALL = {"stackwise_num_blocks": (2, 1), "stackwise_num_filters": (16, 32)}
PYRAMID = {"kernel_sizes": (3, 5), "groups": (1, 4), "reduction": 4}
FILE = "model.safetensors"


@pytest.fixture
def small_resnets(monkeypatch):
    """Lets some of timm's names be those of small networks."""
    networks = timm_networks.NETWORKS
    for name in ("resnet50", "seresnet50", "resnext50_32x4d", "resnest50d"):
        network = networks[name]
        frame = network.frame | {
            "stackwise_num_blocks": (2, 1),
            "stackwise_num_filters": (32, 64),
        }
        monkeypatch.setitem(networks, name, network._replace(frame=frame))
    return networks


def make_epsanet(**kwargs):
    arguments = {"input_shape": (32, 40, 3), "classes": 5} | kwargs
    return EPSANet(**SMALL, **PYRAMID, **arguments)


def outputs(model, x):
    return keras.ops.convert_to_numpy(model(x))


def images(channels=3):
    random = np.random.default_rng(0)
    return random.standard_normal((2, 32, 40, channels)).astype("float32")


@pytest.mark.parametrize(
    "name", ["resnet50", "seresnet50", "resnext50_32x4d", "resnest50d"]
)
def test_what_timm_has_comes_back_to_the_bit(
    name, small_resnets, randomize, tmp_path
):
    model = randomize(
        small_resnets[name].build(input_shape=(32, 40, 3), classes=5)
    )
    timm_folders.save_timm(model, tmp_path / "a")
    config = json.loads((tmp_path / "a/config.json").read_text())
    assert config["architecture"] == name
    copy = timm_folders.load_timm(tmp_path / "a")
    assert copy.name == name and copy.input_shape == (None, None, None, 3)
    np.testing.assert_array_equal(
        outputs(copy, images()), outputs(model, images())
    )
    timm_folders.save_timm(copy, tmp_path / "b")
    first, second = (
        safetensors.load_file(tmp_path / folder / FILE) for folder in "ab"
    )
    assert first.keys() == second.keys()
    for key, array in first.items():
        np.testing.assert_array_equal(second[key], array, err_msg=key)
    assert not any("conv_1" in key or ".spc." in key for key in first)


def test_any_epsanet_comes_back_to_the_bit(randomize, tmp_path):
    model = randomize(make_epsanet(split_input=True, expansion=2))
    timm_folders.save_timm(model, tmp_path)
    assert "layer1.0.conv2.conv_1.weight" in safetensors.load_file(
        tmp_path / FILE
    )
    copy = timm_folders.load_timm(tmp_path, input_shape=(32, 40, 3))
    assert copy.output_shape == (None, 5)
    for found, expected in zip(
        copy.get_weights(), model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_a_backbone_has_its_pooled_features(randomize, tmp_path):
    model = randomize(EPSANetBackbone(**SMALL, **PYRAMID))
    timm_folders.save_timm(model, tmp_path)
    copy = timm_folders.load_timm(tmp_path)
    assert copy.output_shape == (None, 128)
    np.testing.assert_allclose(
        outputs(copy, images()),
        outputs(model, images()).mean(axis=(1, 2)),
        atol=1e-5,
    )


def test_arguments_are_those_of_the_network(randomize, tmp_path):
    model = randomize(make_epsanet())
    timm_folders.save_timm(model, tmp_path)
    copy = timm_folders.load_timm(
        tmp_path, classifier_activation=None, name="mine", prefix="left_"
    )
    assert copy.name == "mine" and copy.get_layer("left_conv1_conv")
    logits = outputs(copy, images())
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(keras.ops.softmax(logits)),
        outputs(model, images()),
        atol=1e-6,
    )


def test_channels_may_come_first(randomize, tmp_path):
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow has no such convolutions on CPUs")
    model = randomize(make_epsanet())
    timm_folders.save_timm(model, tmp_path)
    for is_inside in (False, True):
        copy = timm_folders.load_timm(
            tmp_path, is_inside, data_format="channels_first"
        )
        assert copy.input_shape == (None, 3, None, None)
        x = images() * 50 + 100 if is_inside else images()
        expected = preprocess_input(x) if is_inside else x
        np.testing.assert_allclose(
            outputs(copy, x.transpose(0, 3, 1, 2)),
            outputs(model, expected),
            atol=1e-5,
        )


def test_gray_images_are_normalized_as_is_said(randomize, tmp_path):
    model = randomize(make_epsanet(input_shape=(32, 40, 1), classes=1))
    message = "How the images are normalized must be said.*for 1 channels"
    with pytest.raises(ValueError, match=message):
        timm_folders.save_timm(model, tmp_path / "none")
    assert not (tmp_path / "none").exists()
    timm_folders.save_timm(model, tmp_path, mean=[0.5], std=[0.25])
    copy = timm_folders.load_timm(tmp_path, include_preprocessing=True)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 40, 1))
    np.testing.assert_allclose(
        outputs(copy, pixels),
        outputs(model, (pixels / 255 - 0.5) / 0.25),
        atol=1e-5,
    )


@pytest.mark.parametrize(
    "config, shape",
    [
        ({"pretrained_cfg": {"input_size": [1, 32, 40]}}, (None, None, 1)),
        (
            {"pretrained_cfg": {}, "model_args": {"in_chans": 2}},
            (None, None, 2),
        ),
        ({"pretrained_cfg": {}, "model_args": None}, (None, None, 3)),
        (
            {
                "pretrained_cfg": {"input_size": [3, 32, 40]},
                "model_args": {"in_chans": 2},
            },
            (None, None, 2),
        ),
    ],
)
def test_channels_are_those_of_the_configuration(config, shape):
    found = timm_folders._image(config, {}, False)
    assert found == {"input_shape": shape}


@pytest.mark.parametrize(
    "config, expected",
    [
        ({"num_classes": 5}, {"classes": 5}),
        ({"num_classes": 0}, {"include_top": False, "pooling": "avg"}),
        (
            {"num_classes": 0, "global_pool": "max"},
            {"include_top": False, "pooling": "max"},
        ),
        (
            {"num_classes": 0, "global_pool": ""},
            {"include_top": False, "pooling": None},
        ),
    ],
)
def test_without_classes_there_are_features(config, expected):
    assert timm_folders._head(config) == expected


@pytest.mark.parametrize("name", ["mean", "std"])
def test_one_number_of_another_normalization_is_enough(name):
    preset = {name: [0.4, 0.5, 0.6]}
    with pytest.raises(ValueError, match="another normalization"):
        timm_folders._image({"pretrained_cfg": preset}, {}, False)


def test_pixels_are_normalized_in_float32(tmp_path):
    timm_folders.save_timm(make_epsanet(), tmp_path)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        copy = timm_folders.load_timm(tmp_path, include_preprocessing=True)
    finally:
        keras.config.set_dtype_policy("float32")
    assert copy.get_layer("rescaling").compute_dtype == "float32"
    assert copy.get_layer("conv1_conv").compute_dtype == "bfloat16"


def test_another_normalization_is_not_passed_over(randomize, tmp_path):
    model = randomize(make_epsanet())
    half = (0.5, 0.5, 0.5)
    timm_folders.save_timm(model, tmp_path, mean=half, std=half)
    with pytest.raises(ValueError, match=r"include_preprocessing=True.*\[0.5,"):
        timm_folders.load_timm(tmp_path)
    copy = timm_folders.load_timm(tmp_path, include_preprocessing=True)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 40, 3))
    np.testing.assert_allclose(
        outputs(copy, pixels), outputs(model, pixels / 127.5 - 1), atol=1e-5
    )


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: s.pop("bn1.bias"), "missing: bn1.bias"),
        (lambda s: s.update(extra=np.ones(2)), "unexpected: extra"),
        (
            lambda s: s.update({"fc.bias": np.ones(7, "float32")}),
            "of another shape: fc.bias",
        ),
    ],
)
def test_files_are_read_strictly(change, message, randomize, tmp_path):
    timm_folders.save_timm(randomize(make_epsanet()), tmp_path)
    state = safetensors.load_file(tmp_path / FILE)
    change(state)
    safetensors.save_file(state, tmp_path / FILE)
    with pytest.raises(ValueError, match=message):
        timm_folders.load_timm(tmp_path)


def test_weights_without_a_name_are_refused(
    small_resnets, monkeypatch, tmp_path
):
    network = small_resnets["seresnet50"]
    monkeypatch.setitem(
        small_resnets, "seresnet50", network._replace(dialect=PLAIN)
    )
    model = network.build(input_shape=(32, 40, 3), classes=5)
    with pytest.raises(
        ValueError, match="no names for these.*_se/mlp/fc1/kernel"
    ):
        timm_folders.save_timm(model, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_folders_without_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="no file .*config.json"):
        timm_folders.load_timm(tmp_path)
    (tmp_path / "config.json").write_text('{"architecture": "resnet50"}')
    with pytest.raises(ValueError, match="no file .*model.safetensors"):
        timm_folders.load_timm(tmp_path)


def test_without_safetensors_the_command_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    model = make_epsanet()
    with pytest.raises(ImportError, match="needs safetensors: pip install"):
        timm_folders.save_timm(model, tmp_path)
    assert not list(tmp_path.iterdir())
