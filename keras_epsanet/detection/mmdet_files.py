"""MMDetection's checkpoints, as far as they fit the detectors here."""

import collections.abc
import os
import re
from typing import NamedTuple

import numpy as np

from keras_epsanet.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from keras_epsanet.weights.resnet_torch import CAFFE, texts
from keras_epsanet.weights.torch_files import read_content, to_arrays

_BGR = re.compile(r"""\b(bgr_)?to_rgb['"]?\s*[=:]\s*False""")
_PREPROCESSOR = "data_preprocessor."
# Heads of MMDetection 1, which has the background first, and of torchvision.
_FORMER = ("bbox_head.fc_cls.", "bbox_head.shared_fcs.", "mask_head.")
_TORCHVISION = ("backbone.body.", "backbone.fpn.", "roi_heads.")


class Checkpoint(NamedTuple):
    """What a file of MMDetection holds for a detector.

    Attributes:
        state: Dictionary from names, without `module.`, to arrays.
        class_names: Tuple of strings, or `None` if it does not tell.
        name: String that names the file in messages.
    """

    state: dict
    class_names: tuple | None
    name: str


def read_mmdet(source):
    """Reads a checkpoint of MMDetection 2 or 3, executing nothing.

    Args:
        source: Path of a `.pth` file, or what it holds: a dictionary with
            `"state_dict"` and `"meta"`, or a state dict.

    Returns:
        `Checkpoint`, without the averages that MMCV 1 keeps beside the
        weights: those that it saves under the names of the model are the
        averaged ones, as MMDetection evaluates them.

    Raises:
        ValueError: If it cannot be read, or is one of MMDetection 1, caffe
            style, BGR images or other means.
        ImportError: If PyTorch is needed and not installed.

    Example:

    >>> read_mmdet({"meta": {"CLASSES": ["hat"]}, "state_dict": {}}).class_names
    ('hat',)
    """
    if isinstance(source, collections.abc.Mapping):
        content, name = source, "the state dict"
    else:
        content, name = read_content(source), os.fspath(source)
    meta = content.get("meta") if isinstance(content, dict) else None
    meta = meta if isinstance(meta, collections.abc.Mapping) else {}
    state = {
        key: array
        for key, array in to_arrays(content, name).items()
        if not key.startswith("ema_")
    }
    for reason in _reasons(meta, state, os.path.basename(name)):
        raise ValueError(f"{reason} Received: {name}")
    state = {k: x for k, x in state.items() if not k.startswith(_PREPROCESSOR)}
    return Checkpoint(state, _class_names(meta), name)


def _reasons(meta, state, file_name):
    """Yields why a checkpoint cannot be used, the surest reason first."""
    if any(key.startswith(_TORCHVISION) for key in state):
        yield (
            "This is a detector of torchvision's. Its anchors, ROIAlign and "
            "order of classes are others than those of MMDetection and of "
            "the detectors here."
        )
    is_former = str(meta.get("mmdet_version", "")).startswith(("0.", "1."))
    if is_former or any(key.startswith(_FORMER) for key in state):
        yield (
            "A checkpoint of MMDetection 1 has other names, anchors and the "
            "background as its first class. MMDetection 2 converts it: "
            "tools/model_converters/upgrade_model_version.py."
        )
    config = list(texts(meta))
    if "caffe" in file_name or any(map(CAFFE.search, config)):
        yield (
            "A backbone in the style of Caffe has its stride in the first "
            "1×1 convolution and takes BGR images, so that its weights fit "
            "no network here. Files of the style of PyTorch have the same "
            "names, without caffe."
        )
    if any(map(_BGR.search, config)) or not _has_our_means(state):
        yield (
            "Its detector takes images that are normalized in another way "
            "than those here: RGB, less the mean of ImageNet, divided by its "
            "standard deviation."
        )


def _has_our_means(state):
    """Whether an image is normalized as `preprocess_input` does it."""
    return all(
        np.allclose(np.ravel(state[key]), 255 * np.array(wanted), atol=0.01)
        for key, wanted in (
            (f"{_PREPROCESSOR}mean", IMAGENET_MEAN),
            (f"{_PREPROCESSOR}std", IMAGENET_STD),
        )
        if key in state
    )


def _class_names(meta):
    """The classes by MMDetection 2, which are in `dataset_meta` of 3."""
    inner = meta.get("dataset_meta")
    for place in (meta, inner if isinstance(inner, dict) else {}):
        for key in ("CLASSES", "classes"):
            names = place.get(key)
            if isinstance(names, str):  # Of a detector of one class.
                names = [names]
            if isinstance(names, (list, tuple)) and names:
                return tuple(map(str, names))
    return None
