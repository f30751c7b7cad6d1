"""ResNets in PyTorch's files: torchvision's, timm's and MMPretrain's."""

import collections.abc
import os
import re

from keras_epsanet.weights.torch_files import read_content, to_arrays

# What only detectors have: those of MMDetection, torchvision, detectron2.
_OF_DETECTORS = (
    "neck.",
    "rpn_head.",
    "roi_head.",
    "bbox_head.",
    "mask_head.",
    "backbone.body.",
    "backbone.fpn.",
    "backbone.bottom_up.",
    "rpn.",
    "roi_heads.",
    "head.classification_head.",
)
SEVERAL_SCALES = (
    "it is an EPSANet of several scales, not a ResNet: `weights=` and "
    "`load_torch_weights` load it into a network of its kind"
)
# What is beside the weights: counters, an EPSANet's attention, and weights
# that train and are not averaged, under these names by MMCV 1.
_BESIDE = re.compile(r"^ema_|\.conv2\.se\.|num_batches_tracked$")
# timm's networks with other strides, or a filter before each of them.
_OTHER_STRIDES = re.compile("legacy|resne[a-z]*aa|resnetblur")
CAFFE = re.compile(r"""style['"]?\s*[=:]\s*['"]caffe""")


def read_torch_resnet(path):
    """Reads a PyTorch file into torchvision's names.

    Args:
        path: Path of a `.pth`, `.pt`, `.pth.tar` or `.safetensors` file.

    Returns:
        A dictionary of NumPy arrays.

    Raises:
        ValueError: If the file cannot be read, is caffe-style, of another
            network of the same names, or a detector's.
    """
    path = os.fspath(path)
    name = os.path.basename(path).lower()
    if "caffe" in name:
        _refuse_caffe(f"the file's name says so. Received: source={path}")
    found = _OTHER_STRIDES.search(name)
    if found:
        raise ValueError(
            f"By its name this file is of timm's {found[0]}, whose weights "
            "have the names of a ResNet's, and whose strides are in other "
            f"places. Received: source={path}"
        )
    return rename_resnet(read_content(path), f"source={path}")


def rename_resnet(content, received):
    """Turns what a checkpoint holds into torchvision's names.

    Args:
        content: Dictionary of tensors or arrays, or a checkpoint that has
            it as an entry, as `torch_files.to_arrays` takes it.
        received: String that names the source in messages.

    Returns:
        A dictionary of NumPy arrays.

    Raises:
        ValueError: If it is no checkpoint, caffe-style, a detector's, or an
            EPSANet of several scales.
    """
    if isinstance(content, collections.abc.Mapping):
        # Weights of both styles have the same names and shapes.
        if any(map(CAFFE.search, texts(content.get("meta")))):
            _refuse_caffe(f"its configuration says so. Received: {received}")
    state = to_arrays(content, received)
    found = [key for key in state if key.startswith(_OF_DETECTORS)]
    if found:
        raise ValueError(
            "A ResNet that was trained on ImageNet is needed, and this is a "
            f"detector's file: it has {found[0]} and {len(found) - 1} more "
            f"entries of a neck and heads. Received: {received}"
        )
    if any(".conv2.conv_2." in key for key in state):
        raise ValueError(
            f"This is no source of weights, for {SEVERAL_SCALES}. "
            f"Received: {received}"
        )
    return {
        _rename(key): array
        for key, array in state.items()
        if not _BESIDE.search(key)
    }


def _rename(key):
    key = key.removeprefix("backbone.")
    if key.startswith("head.fc."):
        key = key.removeprefix("head.")
    # An EPSANet of one scale, whose attention is one everywhere.
    return key.replace(".conv2.conv_1.weight", ".conv2.weight")


def _refuse_caffe(reason):
    raise ValueError(
        "A ResNet in the style of Caffe has the stride in the first 1×1 "
        "convolution and images in BGR, so that its weights fit no network "
        f"here, and {reason}"
    )


def texts(value, name=""):
    """Yields every text in nested values, the short ones as `name='text'`.

    Args:
        value: Text, or dictionaries, lists and tuples of them.
        name: String, the name of `value`.

    Example:

    >>> list(texts({"style": "caffe", "epoch": 12}))
    ["style='caffe'"]
    """
    if isinstance(value, str):
        yield f"{name}={value!r}" if len(value) < 40 else value
    elif isinstance(value, collections.abc.Mapping):
        for key, inner in value.items():
            yield from texts(inner, key)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from texts(inner, name)
