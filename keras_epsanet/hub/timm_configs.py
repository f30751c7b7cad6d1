"""The `config.json` of timm: what a network is, and what its images are."""

import json

from keras_epsanet.hub.backbones import backbone_like
from keras_epsanet.hub.class_names import class_names_of
from keras_epsanet.hub.files import find_file
from keras_epsanet.hub.fronts import channels_of, read_front
from keras_epsanet.hub.timm_networks import (
    ANY_EPSANET,
    NETWORKS,
    TIMM_NETWORKS,
    architecture_of,
    pyramid_network,
)
from keras_epsanet.models.backbone import EPSANetBackbone
from keras_epsanet.weights.layer_names import CLASSIFIER, STEM, network_layers

CONFIG = "config.json"
_ARGUMENTS = (
    *("stackwise_num_blocks", "stackwise_num_filters", "kernel_sizes"),
    *("groups", "reduction", "split_input", "expansion"),
)
# Size that timm's networks have been evaluated at, where nothing else is said.
_SIZE = (224, 224)


def read_timm_config(source):
    """Reads the `config.json` of a model of timm.

    Args:
        source: Path of a folder, or `"hf://USER/NAME"`.

    Returns:
        Dictionary with `architecture`, `num_classes`, `pretrained_cfg` and
        what else there is. `pretrained_cfg` has `input_size`, `mean`, `std`,
        `interpolation`, `crop_pct` and `crop_mode`: how the images are made
        that the network was evaluated with.

    Raises:
        ImportError: If the client of the hub is missing.
        ValueError: If there is no such file, or it is none of timm.
    """
    path = find_file(source, CONFIG)
    try:
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(config, dict) or "architecture" not in config:
        raise ValueError(
            f"{path} has no `architecture`, and is none of timm. "
            f"Received: source={source}"
        )
    # timm wrote all of it at one level before.
    config.setdefault("pretrained_cfg", dict(config))
    preset = config["pretrained_cfg"]
    config.setdefault("num_classes", preset.get("num_classes", 1000))
    return config


def network_of(config):
    """Returns the `Network` of a configuration.

    Args:
        config: Dictionary that `read_timm_config` returned.

    Raises:
        ValueError: If it is none of this package, or has other arguments.
    """
    architecture = config["architecture"]
    given = config.get("model_args") or {}
    allowed = {"in_chans", "num_classes", "global_pool"}
    if architecture == ANY_EPSANET:
        allowed |= {*_ARGUMENTS}
    if architecture not in (*NETWORKS, ANY_EPSANET) or given.keys() - allowed:
        raise ValueError(
            "The networks of timm that this package builds, with no argument "
            f"but {', '.join(sorted(allowed))}, are {', '.join(NETWORKS)}. "
            f"Received: architecture={architecture}, model_args={given}"
        )
    if architecture != ANY_EPSANET:
        return NETWORKS[architecture]
    return pyramid_network({k: v for k, v in given.items() if k in _ARGUMENTS})


def describe(model, changes):
    """Returns the configuration of a network, and its `Network`.

    Args:
        model: As in `save_timm`.
        changes: Dictionary of entries of `pretrained_cfg`.

    Raises:
        ValueError: If it is none of timm and no EPSANet, or its
            normalization is not known.
    """
    layers = network_layers(model)
    channels = channels_of(model)
    config = {"architecture": architecture_of(model)}
    arguments = {} if channels == 3 else {"in_chans": channels}
    if config["architecture"] is None:
        config["architecture"] = ANY_EPSANET
        arguments |= _arguments_of(model)
    predictions = layers.get(CLASSIFIER)
    last = [x for name, x in layers.items() if name.endswith("_3_conv")][-1]
    config |= {
        "num_classes": predictions.units if predictions else 0,
        "num_features": last.filters,
        "global_pool": "avg",
    }
    if arguments:
        config["model_args"] = arguments
    names = class_names_of(model)
    if names:
        config["label_names"] = names
    preset = {**_describe_images(model, layers, channels), **changes}
    preset["num_classes"] = config["num_classes"]
    return config | {"pretrained_cfg": preset}, network_of(config)


def _arguments_of(model):
    backbone = backbone_like(model)
    if not isinstance(backbone, EPSANetBackbone):
        raise ValueError(
            "The network must be an EPSANet or one that timm has: "
            f"{', '.join(TIMM_NETWORKS)}. Received: the model {model.name}"
        )
    config = backbone.network_config()
    return {name: config[name] for name in _ARGUMENTS}


def _describe_images(model, layers, channels):
    front = read_front(model)
    height, width = front.image_size or _SIZE
    preset = {
        "input_size": [channels, height, width],
        "fixed_input_size": False,
        "pool_size": [-(-height // 32), -(-width // 32)],
        # timm would sum the channels of what is not RGB.
        "first_conv": _first_conv(layers) if channels == 3 else None,
        "classifier": "fc",
        **_describe_resizing(front.resizing),
    }
    if front.mean is not None:
        preset |= {"mean": list(front.mean), "std": list(front.std)}
    return preset


def _first_conv(layers):
    stem = [x for x in layers if STEM.fullmatch(x) and x.endswith("conv")]
    return "conv1" if len(stem) == 1 else "conv1.0"


def _describe_resizing(resizing):
    if not resizing:
        return {
            "interpolation": "bicubic",
            "crop_pct": 0.875,
            "crop_mode": "center",
        }
    crops = resizing["crop_to_aspect_ratio"]
    return {
        "interpolation": resizing["interpolation"],
        "crop_pct": 1.0,
        "crop_mode": (
            "center"
            if crops
            else ("border" if resizing["pad_to_aspect_ratio"] else "squash")
        ),
    }
