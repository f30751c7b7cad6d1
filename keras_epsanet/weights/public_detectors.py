"""MMDetection's detectors: where they are, and what they reached."""

import difflib

from keras_epsanet.weights.downloads import fetch
from keras_epsanet.weights.public_files import PublicFile

_LICENSE = "Apache-2.0 of the repository, which says nothing of the weights"
# Their backbones began as files of unstated origin; Facebook's are NC.
_LICENSE_OF_RESNEXT = (
    f"{_LICENSE}; the license of the pretraining is unclear, for the "
    "publisher names no source of its ResNeXt, and those of its authors, "
    "Facebook, are CC-BY-NC 4.0"
)
_MMDETECTION = (
    "Chen et al., MMDetection: Open MMLab Detection Toolbox and Benchmark, "
    "2019, https://arxiv.org/abs/1906.07155"
)
_PAPERS = {
    "retinanet": (
        "Lin et al., Focal Loss for Dense Object Detection, 2017, "
        "https://arxiv.org/abs/1708.02002"
    ),
    "faster_rcnn": (
        "Ren et al., Faster R-CNN: Towards Real-Time Object Detection with "
        "Region Proposal Networks, 2015, https://arxiv.org/abs/1506.01497"
    ),
    "mask_rcnn": (
        "He et al., Mask R-CNN, 2017, https://arxiv.org/abs/1703.06870"
    ),
}
_CLASSES = {
    "retinanet": "RetinaNet",
    "faster_rcnn": "FasterRCNN",
    "mask_rcnn": "MaskRCNN",
}
# Backbones: the name here, and MMDetection's.
_BACKBONES = {
    "resnet50": "r50",
    "resnet101": "r101",
    "resnext101_32x4d": "x101_32x4d",
}
# configs/*/metafile.yml: the end of the name, AP of boxes and of masks.
_FILES = {
    ("retinanet", "resnet50"): ("20200130-c2398f9e", 36.5),
    ("retinanet", "resnet101"): ("20200130-7a93545f", 38.5),
    ("retinanet", "resnext101_32x4d"): ("20200130-5c8b7ec4", 39.9),
    ("faster_rcnn", "resnet50"): ("20200130-047c8118", 37.4),
    ("faster_rcnn", "resnet101"): ("20200130-f513f705", 39.4),
    ("faster_rcnn", "resnext101_32x4d"): ("20200203-cff10310", 41.2),
    ("mask_rcnn", "resnet50"): ("20200205-d4b0c5d6", 38.2, 34.7),
    ("mask_rcnn", "resnet101"): ("20200204-1efe0ed5", 40.0, 36.1),
    ("mask_rcnn", "resnext101_32x4d"): ("20200205-478d0b67", 41.9, 37.5),
}
_SCHEDULE = "fpn_1x_coco"


def _file(family, backbone, end, *figures):
    config = f"{family}_{_BACKBONES[backbone]}_{_SCHEDULE}"
    figures = zip(("boxes", "masks"), figures)
    reached = ", ".join(f"AP of {kind} {ap}" for kind, ap in figures)
    is_resnext = backbone.startswith("resnext")
    return PublicFile(
        "https://download.openmmlab.com/mmdetection/v2.0/"
        f"{family}/{config}/{config}_{end}.pth",
        "OpenMMLab, MMDetection",
        _LICENSE_OF_RESNEXT if is_resnext else _LICENSE,
        "COCO train2017, from weights of ImageNet-1k",
        f"{_MMDETECTION}; {_PAPERS[family]}",
        reached=f"{reached} on COCO val2017, as MMDetection measured",
    )


PUBLIC_DETECTORS = {
    f"{family}_{backbone}_{_SCHEDULE}": _file(family, backbone, *row)
    for (family, backbone), row in _FILES.items()
}


def family_of(name):
    """Returns the kind of detector in the name of a public file.

    Args:
        name: String, or anything else.

    Returns:
        `"retinanet"`, `"faster_rcnn"` or `"mask_rcnn"`, or `None` if it is
        no name, or meant as none.

    Example:

    >>> family_of("mask_rcnn_resnet50_fpn_1x_coco"), family_of("model.keras")
    ('mask_rcnn', None)
    """
    if isinstance(name, str) and "." not in name and "/" not in name:
        for family in _PAPERS:
            if name.startswith(f"{family}_res"):
                return family
    return None


def full_name(family, name):
    """Returns the key of `PUBLIC_DETECTORS` that a name stands for.

    Args:
        family: What `family_of` returns.
        name: A key, or one without the family and `_` in front.

    Raises:
        ValueError: If there is no such name, or it is of another kind.
            Similar ones are named.

    Example:

    >>> full_name("retinanet", "resnet50_fpn_1x_coco")
    'retinanet_resnet50_fpn_1x_coco'
    """
    other = family_of(name)
    if other not in (None, family):
        raise ValueError(
            f"A file of another detector is not for {_CLASSES[family]}: use "
            f"{_CLASSES[other]}.from_pretrained. Received: name={name}"
        )
    whole = f"{family}_{str(name).removeprefix(f'{family}_')}"
    if whole in PUBLIC_DETECTORS:
        return whole
    names = [x for x in PUBLIC_DETECTORS if x.startswith(family)]
    near = difflib.get_close_matches(whole, names, n=1) or names[:1]
    raise ValueError(
        f"There is no public detector of this name. Similar: {near[0]}. "
        f"All: {', '.join(names)}. A file needs its whole path. "
        f"Received: name={name}"
    )


def published_ap(name):
    """Returns what a public detector reached on COCO val2017.

    Args:
        name: Key of `PUBLIC_DETECTORS`.

    Returns:
        Dictionary from `"boxes"` and, if there are any, `"masks"` to average
        precisions, floats from 0 to 1, as MMDetection measured them.

    Example:

    >>> published_ap("mask_rcnn_resnet50_fpn_1x_coco")
    {'boxes': 0.382, 'masks': 0.347}
    """
    family = family_of(name)
    backbone = name.removeprefix(f"{family}_").removesuffix(f"_{_SCHEDULE}")
    _, *figures = _FILES[family, backbone]
    figures = (round(ap / 100, 3) for ap in figures)
    return dict(zip(("boxes", "masks"), figures))


def download_detector(name, timeout=30):
    """Downloads a public file into Keras' cache, as `public_files.download`.

    Args:
        name: Key of `PUBLIC_DETECTORS`.
        timeout: Number, seconds without any byte after which the download
            is given up.

    Returns:
        String, the path of the file.

    Raises:
        OSError: If the file cannot be downloaded as a whole, or its hash is
            wrong. Nothing of it is left.
    """
    return fetch(PUBLIC_DETECTORS[name], timeout)
