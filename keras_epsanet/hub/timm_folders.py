"""Networks in the form of timm: `model.safetensors` beside `config.json`."""

import json
import os

import keras
import numpy as np

from keras_epsanet.atomic import write_file
from keras_epsanet.hub.cards import SUMS
from keras_epsanet.hub.files import (
    check_local,
    find_file,
    published_folder,
)
from keras_epsanet.hub.fronts import scale_and_offset
from keras_epsanet.hub.timm_configs import (
    CONFIG,
    describe,
    network_of,
    read_timm_config,
)
from keras_epsanet.layers import PSA
from keras_epsanet.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from keras_epsanet.weights.entries import assign_entries
from keras_epsanet.weights.layer_names import network_layers
from keras_epsanet.weights.network_entries import network_entries
from keras_epsanet.weights.torch_files import read_checkpoint
from keras_epsanet.weights.torch_names import write_entries

WEIGHTS = "model.safetensors"
# What is written, and the card's sums; other programs have such names, too.
FILES = (CONFIG, WEIGHTS, SUMS)
KEYS = ("architecture", "pretrained_cfg")


def load_timm(source, include_preprocessing=False, **kwargs):
    """Builds a network of timm, with its weights.

    Args:
        source: Path of a folder with `config.json` and `model.safetensors`,
            or `"hf://USER/NAME"`, such as `"hf://timm/resnet50.a1_in1k"`.
        include_preprocessing: Whether the model normalizes its images
            itself, as the configuration says: it takes pixels from 0 to 255
            then. Otherwise it takes those of `preprocess_input`.
        **kwargs: Arguments of `ResNet`, such as `input_shape`, by default
            images of any size.

    Returns:
        A functional `keras.Model`, with the classifier if there is one.

    Raises:
        ImportError: If safetensors or the client of the hub is missing.
        ValueError: If the network is none of this package, its weights are
            not all there or more than there should be, or it was trained
            with another normalization than `preprocess_input` and
            `include_preprocessing` is false.

    Example:

    >>> from keras_epsanet import EPSANet50Small
    >>> save_timm(EPSANet50Small(classes=10), "published")
    >>> load_timm("published", input_shape=(64, 64, 3)).output_shape
    (None, 10)
    """
    config = read_timm_config(source)
    network = network_of(config)
    arguments = _head(config) | {"name": config["architecture"]} | kwargs
    image = _image(config, arguments, include_preprocessing)
    model = network.build(**image, **arguments)
    state = read_checkpoint(find_file(source, WEIGHTS))
    assign_entries(network_entries(model, dialect=network.dialect), state)
    return model


def _head(config):
    classes = config["num_classes"]
    if classes:
        return {"classes": classes}
    pool = config.get("global_pool", "avg") or None
    return {"include_top": False, "pooling": pool}


def _image(config, arguments, include_preprocessing):
    """Returns the arguments of the network that are about its images."""
    data_format = arguments.get("data_format")
    data_format = data_format or keras.config.image_data_format()
    is_last = data_format == "channels_last"
    preset = config["pretrained_cfg"]
    channels = preset.get("input_size", (3,))[0]
    channels = (config.get("model_args") or {}).get("in_chans", channels)
    shape = arguments.pop("input_shape", None)
    if shape is None:
        shape = (None, None, channels) if is_last else (channels, None, None)
    mean = np.array(preset.get("mean", IMAGENET_MEAN))
    std = np.array(preset.get("std", IMAGENET_STD))
    if not include_preprocessing:
        if channels == 3 and not (
            np.allclose(mean, IMAGENET_MEAN) and np.allclose(std, IMAGENET_STD)
        ):
            raise ValueError(
                "The network was trained with another normalization than "
                "that of preprocess_input. Give include_preprocessing=True, "
                f"and pixels from 0 to 255. Received: mean={mean.tolist()}, "
                f"std={std.tolist()}"
            )
        return {"input_shape": shape}
    axes = (1, 1, -1) if is_last else (-1, 1, 1)
    image = keras.Input(shape)
    scale, offset = scale_and_offset(mean.tolist(), std.tolist())
    layer = keras.layers.Rescaling(
        np.reshape(scale, axes).tolist(),
        np.reshape(offset, axes).tolist(),
        dtype="float32",
        name="rescaling",
    )
    return {"input_tensor": layer(image)}


def save_timm(model, folder, **kwargs):
    """Writes a network as timm does: `config.json` and `model.safetensors`.

    timm loads the networks that it has:
    `timm.create_model("local-dir:FOLDER")`. EPSANets are written in the
    names of their authors, with their arguments beside them.

    Args:
        model: An EPSANet or a ResNet of this package, a backbone of one, or
            a classifier that has its layers, such as the `model.keras` of a
            training, whose size, normalization and classes are written too.
        folder: Path of the folder. It is made if need be, and appears when
            all of it is there.
        **kwargs: Entries of `pretrained_cfg`, such as `crop_pct=0.95`,
            that replace what is read from the model.

    Raises:
        ImportError: If safetensors is missing.
        ValueError: If the network is none of timm and no EPSANet, or has
            another number of channels than 3 and neither a normalization of
            its own nor `mean` and `std`, or if the folder is in a storage
            or holds something else than such a network.

    Example:

    >>> from keras_epsanet import ResNet50
    >>> save_timm(ResNet50(classes=10), "published", tag="flowers")
    >>> read_timm_config("published")["architecture"]
    'resnet50'
    """
    check_local(folder)
    config, network = describe(model, kwargs)
    if "mean" not in config["pretrained_cfg"]:
        channels = config["pretrained_cfg"]["input_size"][0]
        raise ValueError(
            "How the images are normalized must be said with `mean` and "
            "`std`, of each channel in [0, 1]. Received: a network for "
            f"{channels} channels that does not normalize them itself"
        )
    entries = network_entries(model, dialect=network.dialect)
    known = {id(entry.variable) for entry in entries}
    unknown = [
        weight.path
        for layer in network_layers(model).values()
        # Of a single scale the attention is 1 whatever its weights are.
        if not (isinstance(layer, PSA) and len(layer.kernel_sizes) == 1)
        for weight in layer.weights
        if id(weight) not in known
    ]
    if unknown:
        raise ValueError(
            f"timm has no names for these weights: {', '.join(unknown)}"
        )
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    with published_folder(folder, FILES, KEYS) as temporary:
        write_entries(entries, os.path.join(temporary, WEIGHTS))
        write_file(os.path.join(temporary, CONFIG), text)
