"""MMDetection's detectors for the commands, of any kind, by name or file."""

from typing import NamedTuple

import keras

from keras_epsanet.detection.detector import Detector
from keras_epsanet.detection.faster_rcnn import FasterRCNN
from keras_epsanet.detection.mask_rcnn import MaskRCNN
from keras_epsanet.detection.mmdet_files import read_mmdet
from keras_epsanet.detection.pretrained import variant_of
from keras_epsanet.detection.retinanet import RetinaNet
from keras_epsanet.weights.public_detectors import family_of, full_name
from keras_epsanet.weights.torch_files import READ_ENDINGS, read_checkpoint

DETECTORS = {cls.FAMILY: cls for cls in (RetinaNet, FasterRCNN, MaskRCNN)}
# The networks that compute what the backbones of public files do.
_VARIANTS = {
    "resnet50": "resnet50",
    "resnet101": "resnet101",
    "resnext101_32x4d": "epsanet101_large",
}
# What only files of a kind have, the rarest first.
_PARTS = {
    "mask_rcnn": "roi_head.mask_head.",
    "faster_rcnn": "roi_head.bbox_head.",
    "retinanet": "bbox_head.retina_cls.",
}


class Description(NamedTuple):
    """What a name or a file of MMDetection tells of a detector.

    Attributes:
        detector: `"retinanet"`, `"faster_rcnn"` or `"mask_rcnn"`.
        model: Name of the backbone, or `None` for one that it does not tell.
    """

    detector: str
    model: str | None


def describe(source):
    """Describes the detector of a name or a file.

    Args:
        source: String, the whole name of a public detector, or a path.

    Returns:
        `Description`, or `None` if it is no detector of MMDetection.

    Raises:
        ValueError: If there is no such name, or the file cannot be read.

    Example:

    >>> describe("mask_rcnn_resnext101_32x4d_fpn_1x_coco")
    Description(detector='mask_rcnn', model='epsanet101_large')
    """
    family = family_of(source)
    if family is not None:
        name = full_name(family, source).removeprefix(f"{family}_")
        return Description(family, _VARIANTS[name.removesuffix("_fpn_1x_coco")])
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


def changes_of(description, given):
    """Returns what a recipe has of the detector that it starts from.

    Args:
        description: `Description`.
        given: What a parser with `CocoRecipe.add_options` returned.

    Returns:
        Dictionary of fields.

    Raises:
        ValueError: If another detector or network was given.

    Example:

    >>> import argparse
    >>> trained = Description("faster_rcnn", "resnet50")
    >>> changes_of(trained, argparse.Namespace(model="resnet50"))
    {'sampling_ratio': 0, 'detector': 'faster_rcnn', 'model': 'resnet50'}
    """
    changes = {"sampling_ratio": 0}
    for field, value in description._asdict().items():
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


def load_trained(source):
    """Makes a detector of a name or a file.

    Args:
        source: As in `describe`, or the path of a `.keras` file.

    Returns:
        `RetinaNet`, `FasterRCNN` or `MaskRCNN`, with class names.

    Raises:
        OSError, ValueError, ImportError: As of `from_pretrained`; or if it is
            no detector of MMDetection.
    """
    detector = None
    if str(source).endswith(".keras"):
        loaded = keras.saving.load_model(source, compile=False)
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


def name_classes(detector):
    """Names the classes of a detector by their numbers, if it has no names.

    Args:
        detector: `Detector`, which is changed.
    """
    if detector.class_names is None:
        number = detector.num_classes
        detector.class_names = [f"class {i}" for i in range(number)]
