"""Public ResNets for a network: chosen, downloaded and converted once."""

import re

import numpy as np

from keras_epsanet.weights.conversions import read_conversion
from keras_epsanet.weights.inherit_resnet import check_fits
from keras_epsanet.weights.layer_names import network_layers
from keras_epsanet.weights.public_files import (
    DEFAULTS,
    PUBLIC_FILES,
    download,
)
from keras_epsanet.weights.resnet_names import ResNetWeights, read_resnet
from keras_epsanet.weights.torch_files import ENDINGS, import_for_files

# Its weights start EPSANet Large exactly.
RESNEXT = "resnext"
_SMALL = {"filters": (64, 128, 256, 512), "groups": 1, "expansion": 4}
_LARGE = {"filters": (128, 256, 512, 1024), "groups": 32, "expansion": 2}
_50, _101 = {"blocks": (3, 4, 6, 3)}, {"blocks": (3, 4, 23, 3)}
_NETWORKS = {
    "resnet50": {**_50, **_SMALL},
    "resnet101": {**_101, **_SMALL},
    "resnext50_32x4d": {**_50, **_LARGE},
    "resnext101_32x4d": {**_101, **_LARGE},
}


def is_public_name(source):
    """Whether a source is, or is meant as, the name of a public file.

    `"resnext"` is one, and so is any that looks like those of the table.
    """
    return (
        isinstance(source, str)
        and re.fullmatch(r"resnext|resne(x)?t\d+(_32x4d)?(\.\w+)?", source)
        is not None
        and not source.endswith((*ENDINGS, ".h5", ".keras"))
    )


def read_source(model, source):
    """Reads the ResNet that a network is to start or to learn from.

    Args:
        model: As in `read_public_resnet`.
        source: Name of a public file, or what `read_resnet` takes.

    Returns:
        `ResNetWeights`.

    Raises:
        OSError, ValueError, ImportError: As of both.
    """
    if is_public_name(source):
        return read_public_resnet(model, source)
    return read_resnet(source)


def full_name(name):
    """Returns the key of `PUBLIC_FILES` that a name stands for.

    Args:
        name: Key of `PUBLIC_FILES` or `DEFAULTS`, or `"resnext"`, which
            depends on the network and stays as it is.

    Raises:
        ValueError: If there is no such name. Similar ones are named.

    Example:

    >>> full_name("resnext50_32x4d")
    'resnext50_32x4d.tv2'
    """
    name = DEFAULTS.get(name, name)
    if name != RESNEXT and name not in PUBLIC_FILES:
        download(name)  # Raises.
    return name


def read_public_resnet(model, name):
    """Reads a public ResNet for a network, and downloads it if need be.

    Args:
        model: An EPSANet or `EPSANetBackbone`. It is checked before the
            download.
        name: Key of `PUBLIC_FILES` or `DEFAULTS`, or `"resnext"` for the
            default of the network's depth.

    Returns:
        `ResNetWeights`.

    Raises:
        ValueError: If there is no such name, or the ResNet does not fit the
            network.
        OSError: If the file cannot be downloaded.
        ImportError: If PyTorch is needed to convert it and not installed.
    """
    layers = network_layers(model)
    if name == RESNEXT:
        stage = [x for x in layers if x.startswith("conv4_")]
        depth = 101 if "conv4_block23_psa" in stage else 50
        name = f"resnext{depth}_32x4d"
    name = full_name(name)
    network = _NETWORKS[name.partition(".")[0]]
    stem = {"conv1.weight": np.zeros((64, 3, 7, 7), "float32")}
    check_fits(layers, ResNetWeights(state=stem, classes=1000, **network))
    return _read(name)


def _read(name):
    """Reads the converted file, or downloads and converts the published one."""
    file_name = PUBLIC_FILES[name].file_name

    def convert():
        if file_name.endswith(ENDINGS):
            # Missed before the download rather than after it.
            import_for_files("torch", "torch")
        return read_resnet(download(name)).state

    return read_resnet(read_conversion(file_name, convert))
