"""What a `config.json` of timm says, and what is written into one."""

import json

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANet, ResNet, ResNet50
from keras_epsanet.hub import timm_configs
from keras_epsanet.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD

SMALL = {"stackwise_num_blocks": (1, 1), "stackwise_num_filters": (16, 32)}
PYRAMID = {"kernel_sizes": (3, 5), "groups": (1, 4), "reduction": 4}


def write(folder, content):
    (folder / "config.json").write_text(
        content if isinstance(content, str) else json.dumps(content)
    )
    return folder


def test_it_is_read_in_its_form_of_today_and_of_before(tmp_path):
    preset = {"mean": [0.5] * 3, "num_classes": 7}
    for content in (
        {
            "architecture": "resnet50",
            "num_classes": 7,
            "pretrained_cfg": preset,
        },
        {"architecture": "resnet50", **preset},
        {"architecture": "resnet50", "pretrained_cfg": preset},
    ):
        config = timm_configs.read_timm_config(write(tmp_path, content))
        assert config["architecture"] == "resnet50"
        assert config["num_classes"] == 7
        assert config["pretrained_cfg"]["mean"] == [0.5] * 3
    config = timm_configs.read_timm_config(
        write(tmp_path, {"architecture": "resnet50"})
    )
    assert config["num_classes"] == 1000


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "config.json is damaged"),
        ("[]", "no `architecture`"),
        ({"registered_name": "keras_hub>ImageClassifier"}, "none of timm"),
    ],
)
def test_others_are_refused_by_name(content, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        timm_configs.read_timm_config(write(tmp_path, content))


def test_a_classifier_of_a_training_is_described(make_classifier):
    config, network = timm_configs.describe(make_classifier(), {"tag": "pets"})
    assert config["architecture"] == "epsanet"
    assert config["num_classes"] == 4 and config["num_features"] == 128
    assert config["label_names"] == ["cat", "dog", "a | b", "Ä"]
    assert config["model_args"] == {
        "stackwise_num_blocks": (2, 1),
        "stackwise_num_filters": (16, 32),
        **PYRAMID,
        "split_input": False,
        "expansion": 4,
    }
    assert config["pretrained_cfg"] == {
        "tag": "pets",
        "input_size": [3, 32, 40],
        "fixed_input_size": False,
        "pool_size": [1, 2],
        "first_conv": "conv1",
        "classifier": "fc",
        # The whole image, in whatever shape.
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "crop_mode": "squash",
        "mean": list(IMAGENET_MEAN),
        "std": list(IMAGENET_STD),
        "num_classes": 4,
    }
    assert network.frame["stackwise_num_blocks"] == (2, 1)


@pytest.mark.parametrize(
    "arguments, mode",
    [
        ({"crop_to_aspect_ratio": True}, "center"),
        ({"pad_to_aspect_ratio": True}, "border"),
        ({}, "squash"),
    ],
)
def test_what_resizes_is_described(arguments, mode):
    image = keras.Input((None, None, 3))
    x = keras.layers.Resizing(33, 64, "bicubic", **arguments)(image)
    x = keras.layers.Rescaling(1 / 127.5, -1)(x)
    config, _ = timm_configs.describe(
        EPSANet(**SMALL, **PYRAMID, input_tensor=x, classes=2), {}
    )
    preset = config["pretrained_cfg"]
    assert (preset["crop_mode"], preset["crop_pct"]) == (mode, 1)
    assert preset["interpolation"] == "bicubic"
    assert preset["input_size"] == [3, 33, 64]
    assert preset["pool_size"] == [2, 2]
    np.testing.assert_allclose(preset["mean"], [0.5] * 3)
    np.testing.assert_allclose(preset["std"], [0.5] * 3)


def test_a_network_alone_is_described_as_timm_evaluates():
    config, network = timm_configs.describe(
        ResNet50("split", input_shape=(None, None, 3)), {"crop_pct": 0.9}
    )
    preset = config["pretrained_cfg"]
    assert config["architecture"] == "resnest50d"
    assert "model_args" not in config and "label_names" not in config
    assert preset["input_size"] == [3, 224, 224]
    assert preset["first_conv"] == "conv1.0"
    assert (preset["interpolation"], preset["crop_pct"]) == ("bicubic", 0.9)
    assert preset["crop_mode"] == "center" and preset["classifier"] == "fc"
    assert config["global_pool"] == "avg" and config["num_features"] == 2048
    small = EPSANet(**SMALL, **PYRAMID, input_shape=(32, 64, 3), classes=2)
    config, _ = timm_configs.describe(small, {})
    assert config["pretrained_cfg"]["crop_pct"] == 0.875
    assert config["pretrained_cfg"]["pool_size"] == [1, 2]
    assert network is timm_configs.NETWORKS["resnest50d"]


def test_a_backbone_has_no_classes():
    model = EPSANet(**SMALL, **PYRAMID, include_top=False)
    config, _ = timm_configs.describe(model, {})
    assert config["num_classes"] == config["pretrained_cfg"]["num_classes"] == 0


def test_channels_are_an_argument_where_they_are_not_three():
    model = EPSANet(**SMALL, **PYRAMID, input_shape=(32, 48, 1), classes=1)
    config, _ = timm_configs.describe(model, {"mean": [0.5], "std": [0.25]})
    assert config["model_args"]["in_chans"] == 1
    assert config["pretrained_cfg"]["input_size"] == [1, 32, 48]
    assert config["pretrained_cfg"]["first_conv"] is None
    np.testing.assert_equal(config["pretrained_cfg"]["mean"], [0.5])


def test_networks_without_a_name_are_refused():
    with pytest.raises(ValueError, match="EPSANet or one that timm has: res"):
        timm_configs.describe(ResNet(**SMALL, input_shape=(32, 32, 3)), {})


@pytest.mark.parametrize(
    "config",
    [
        {"architecture": "vit_base_patch16_224"},
        {"architecture": "resnet50", "model_args": {"output_stride": 8}},
        {"architecture": "resnet50", "model_args": {"kernel_sizes": [3, 5]}},
        {"architecture": "epsanet", "model_args": {"attention": "se"}},
    ],
)
def test_other_networks_and_arguments_are_named(config):
    with pytest.raises(ValueError, match="Received: architecture=") as caught:
        timm_configs.network_of(config)
    assert config["architecture"] in str(caught.value)


def test_arguments_that_are_said_elsewhere_do_no_harm():
    given = {"in_chans": 3, "num_classes": 5, "global_pool": "avg"}
    network = timm_configs.network_of(
        {"architecture": "resnet101", "model_args": given}
    )
    assert network.frame["stackwise_num_blocks"] == (3, 4, 23, 3)
