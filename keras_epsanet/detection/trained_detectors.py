"""Trained detectors for the commands, of any kind, by name or file."""

import json
import zipfile
from typing import NamedTuple

import keras

from keras_epsanet import storage
from keras_epsanet.detection.detector import Detector
from keras_epsanet.detection.faster_rcnn import FasterRCNN
from keras_epsanet.detection.mask_rcnn import MaskRCNN
from keras_epsanet.detection.mmdet_files import Checkpoint, read_mmdet
from keras_epsanet.detection.mmdet_weights import detector_entries
from keras_epsanet.detection.pretrained import read_detector, variant_of
from keras_epsanet.detection.retinanet import RetinaNet
from keras_epsanet.models.resnet_variants import RESNET_CONFIGS
from keras_epsanet.models.variants import MODEL_CONFIGS
from keras_epsanet.weights.public_detectors import family_of, full_name
from keras_epsanet.weights.torch_files import READ_ENDINGS, read_checkpoint

DETECTORS = {cls.FAMILY: cls for cls in (RetinaNet, FasterRCNN, MaskRCNN)}
# The networks that compute what the backbones of public files do.
_VARIANTS = {
    "resnet50": "resnet50",
    "resnet101": "resnet101",
    "resnext101_32x4d": "epsanet101_large",
}
_CONFIGS = {
    "keras_epsanet>EPSANetBackbone": MODEL_CONFIGS,
    "keras_epsanet>ResNetBackbone": RESNET_CONFIGS,
}
_OWN = {f"keras_epsanet>{cls.__name__}": x for x, cls in DETECTORS.items()}
# What the configuration of a detector has, also of a class that is derived.
_KEYS = {"backbone", "class_names", "iou_threshold", "max_detections"}
# What only files of a kind have, the rarest first.
_PARTS = {
    "mask_rcnn": "roi_head.mask_head.",
    "faster_rcnn": "roi_head.bbox_head.",
    "retinanet": "bbox_head.retina_cls.",
}


class Description(NamedTuple):
    """What a name or a file tells of a detector.

    Attributes:
        detector: `"retinanet"`, `"faster_rcnn"` or `"mask_rcnn"`.
        model: Name of the backbone, or `None` for one that it does not tell.
        sampling_ratio: Integer, that of its ROIAlign; MMDetection's is 0.
    """

    detector: str
    model: str | None
    sampling_ratio: int = 0


def describe(source):
    """Describes the detector of a name or a file.

    Args:
        source: String, the whole name of a public detector, or the path of a
            file of MMDetection's or of this package (`.keras`).

    Returns:
        `Description`, or `None` if it is no such detector.

    Raises:
        OSError: If a file that is there cannot be opened.
        ValueError: If there is no such name, the file of MMDetection's cannot
            be read, or a `.keras` file holds a detector of a class of one's
            own, or one whose backbone is no network of `models`.

    Example:

    >>> describe("mask_rcnn_resnext101_32x4d_fpn_1x_coco")
    Description(detector='mask_rcnn', model='epsanet101_large', \
sampling_ratio=0)
    """
    family = family_of(source)
    if family is not None:
        name = full_name(family, source).removeprefix(f"{family}_")
        return Description(family, _VARIANTS[name.removesuffix("_fpn_1x_coco")])
    if str(source).endswith(".keras"):
        return _describe_own(source)
    if not str(source).endswith(READ_ENDINGS):
        return None
    keys = list(read_checkpoint(source))
    for family, part in _PARTS.items():
        if any(key.startswith(part) for key in keys):
            try:
                return Description(family, variant_of(read_mmdet(source)))
            except ValueError:  # Of a network that the user has to name.
                return Description(family, None)
    return None


def _describe_own(path):
    """Describes a file of this package by its configuration alone."""
    found = _read_own(path)
    if found is None:
        return None
    name, config = found
    if name not in _OWN:
        raise ValueError(_other_class(path, name))
    variant = _variant_of_own(config["backbone"])
    if variant is None:
        names = ", ".join(name for x in _CONFIGS.values() for name in x)
        raise ValueError(
            f"A detector must have a backbone with one of the names {names}, "
            "for a recipe knows no others. "
            f"Received: {path}, a {name.partition('>')[2]} on another backbone"
        )
    return Description(_OWN[name], variant, config.get("sampling_ratio", 0))


def _read_own(path):
    """Name of the class of a detector that was saved, and its configuration.

    `None` if the file holds no detector, or cannot be read: who loads it as a
    classifier is told what is wrong.
    """
    try:
        with storage.local_file(path) as file, zipfile.ZipFile(file) as saved:
            content = json.loads(saved.read("config.json"))
    except (FileNotFoundError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    if not isinstance(content, dict):
        return None
    name, config = content.get("registered_name"), content.get("config")
    if name in _OWN or (isinstance(config, dict) and _KEYS <= set(config)):
        return name, config
    return None


def _other_class(path, name):
    return (
        "A command and a recipe know the detectors RetinaNet, FasterRCNN and "
        "MaskRCNN alone. Use one of a class of your own in Python, where "
        f"this class is. Received: {path}, a {name}"
    )


def _variant_of_own(backbone):
    """Name of the network of a backbone that was saved, or `None`."""
    config = backbone["config"]
    if config.get("attention") is not None:
        return None
    for name, wanted in _CONFIGS.get(backbone["registered_name"], {}).items():
        wanted = json.loads(json.dumps(wanted))  # Lists for tuples.
        if all(config.get(key) == value for key, value in wanted.items()):
            return name
    return None


def changes_of(description, given):
    """Returns what a recipe has of the detector that it starts from.

    Args:
        description: `Description`.
        given: What a parser with `CocoRecipe.add_options` returned.

    Returns:
        Dictionary of fields.

    Raises:
        ValueError: If another detector, network or library was given.

    Example:

    >>> import argparse
    >>> trained = Description("faster_rcnn", "resnet50")
    >>> changes_of(trained, argparse.Namespace(model="resnet50"))
    {'sampling_ratio': 0, 'detector': 'faster_rcnn', 'model': 'resnet50'}
    """
    library = getattr(given, "library", "keras_epsanet")
    if library != "keras_epsanet":
        raise ValueError(
            "--weights is a detector, which starts those of this package "
            "alone; others start from a classifier. "
            f"Received: --library {library}"
        )
    changes = {"sampling_ratio": description.sampling_ratio}
    for field in ("detector", "model"):
        value = getattr(description, field)
        if value is None:
            continue
        wanted = getattr(given, field, value)
        if wanted != value:
            raise ValueError(
                f"--weights is a detector with {field}={value}. "
                f"Received: --{field} {wanted}"
            )
        changes[field] = value
    return changes


def read_trained(family, source):
    """Reads the weights that a training starts from.

    Args:
        family: `"retinanet"`, `"faster_rcnn"` or `"mask_rcnn"`.
        source: As in `describe`.

    Returns:
        `Checkpoint`, with MMDetection's names.

    Raises:
        OSError, ValueError, ImportError: If it cannot be downloaded or read,
            or is a detector of another family.
    """
    if not str(source).endswith(".keras"):
        return read_detector(family, source)
    detector = load_trained(source)
    if detector.FAMILY != family:
        raise ValueError(
            f"The file must hold a {family}. "
            f"Received: {source}, a {detector.FAMILY}"
        )
    entries = detector_entries(detector)
    state = {entry.key: entry.to_torch() for entry in entries}
    return Checkpoint(state, detector.class_names, str(source))


def load_trained(source):
    """Makes a detector of a name or a file.

    Args:
        source: As in `describe`.

    Returns:
        `RetinaNet`, `FasterRCNN` or `MaskRCNN`, with class names.

    Raises:
        OSError, ValueError, ImportError: As of `from_pretrained`; or if it is
            no detector.
    """
    detector = None
    if str(source).endswith(".keras"):
        loaded = _load_own(source)
        detector = loaded if isinstance(loaded, Detector) else None
    elif (description := describe(source)) is not None:
        detector = DETECTORS[description.detector].from_pretrained(source)
    if detector is None:
        raise ValueError(
            "It must be the name of a public detector, such as "
            "mask_rcnn_resnet50_fpn_1x_coco, the file of one of "
            "MMDetection's, or the .keras file of one of this package. "
            f"Received: {source}"
        )
    name_classes(detector)
    return detector


def _load_own(path):
    try:
        return keras.saving.load_model(path, compile=False)
    except TypeError as error:  # Of Keras, which finds no such class.
        found = _read_own(path)
        if found is None or found[0] in _OWN:
            raise
        raise ValueError(_other_class(path, found[0])) from error


def name_classes(detector):
    """Names the classes of a detector by their numbers, if it has no names.

    Args:
        detector: `Detector`, which is changed.
    """
    if detector.class_names is None:
        number = detector.num_classes
        detector.class_names = [f"class {i}" for i in range(number)]
