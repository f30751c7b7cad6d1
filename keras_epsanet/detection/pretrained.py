"""Detectors that MMDetection has trained, made from their files."""

from keras_epsanet import storage
from keras_epsanet.data.coco.class_names import COCO_CLASSES
from keras_epsanet.detection.failed_steps import SurvivingModel
from keras_epsanet.detection.mmdet_files import Checkpoint, read_mmdet
from keras_epsanet.detection.mmdet_weights import (
    count_classes,
    load_checkpoint,
)
from keras_epsanet.models.backbone import EPSANetBackbone
from keras_epsanet.models.resnet_backbone import ResNetBackbone
from keras_epsanet.models.resnet_variants import RESNET_CONFIGS
from keras_epsanet.weights.conversions import read_conversion
from keras_epsanet.weights.public_detectors import (
    PUBLIC_DETECTORS,
    download_detector,
    full_name,
)
from keras_epsanet.weights.resnet_names import read_resnet
from keras_epsanet.weights.torch_files import READ_ENDINGS, import_for_files

# As MMDetection trains: the stem and the first stage are frozen.
FROZEN = {"freeze_stages": 1, "norm_eval": True}


class PretrainedModel(SurvivingModel):
    """Model that is made from a file of MMDetection.

    A subclass has the attribute `FAMILY`, which begins the names of its
    public files.
    """

    FAMILY = None

    @classmethod
    def from_pretrained(cls, source, num_classes=None, **kwargs):
        """Makes a detector with weights that MMDetection has trained.

        A public file is downloaded once into Keras' cache, and its hash is
        checked; its publisher, license and average precision are printed.
        The file and what it is converted to stay there.

        The backbone is a `ResNetBackbone`, and for ResNeXt-101 32x4d an
        `EPSANetBackbone`, EPSANet-101 Large, which computes the same. As in
        MMDetection's training its stem and first stage are frozen and its
        BatchNorms keep their statistics. The R-CNNs have
        `sampling_ratio=0`, with which they were trained and measured.

        Args:
            source: `"resnet50_fpn_1x_coco"`, `"resnet101_fpn_1x_coco"` or
                `"resnext101_32x4d_fpn_1x_coco"`, with or without the name of
                the detector in front, as in `"mask_rcnn_resnet50_fpn_1x_coco"`;
                or the path of a file of MMDetection 2 or 3 of this detector
                on one of these backbones.
            num_classes: Integer; `None` for the number of the file or of
                `class_names`. The last layers of another number are left as
                they start, and a warning says so.
            **kwargs: Arguments of the class, such as `class_names`.

        Returns:
            A detector of this class. Those of COCO know its class names.

        Raises:
            ValueError: If there is no such name, or as of
                `keras_epsanet.detection.load_mmdet_weights`.
            OSError: If the file cannot be downloaded as a whole, or its hash
                is wrong.
            ImportError: If PyTorch is needed to convert it and not
                installed.
        """
        checkpoint = read_detector(cls.FAMILY, source)
        names = kwargs.pop("class_names", None)
        if num_classes is None:
            num_classes = count_classes(checkpoint.state)
            if names is not None:
                num_classes = len(names)
        if hasattr(cls, "sampling_ratio"):
            kwargs.setdefault("sampling_ratio", 0)
        detector = cls(
            make_backbone(checkpoint, **FROZEN),
            num_classes,
            class_names=names,
            **kwargs,
        )
        load_checkpoint(detector, checkpoint)
        return detector


def read_detector(family, source):
    """Reads a file of MMDetection, and downloads it if need be.

    Args:
        family: `"retinanet"`, `"faster_rcnn"` or `"mask_rcnn"`.
        source: As in `PretrainedModel.from_pretrained`.

    Returns:
        `Checkpoint`.

    Raises:
        OSError, ValueError, ImportError: As of
            `PretrainedModel.from_pretrained`.
    """
    if str(source).endswith(READ_ENDINGS) or storage.exists(str(source)):
        return read_mmdet(source)
    name = full_name(family, source)

    def convert():
        # Missed before the download rather than after it.
        import_for_files("torch", "torch")
        return read_mmdet(download_detector(name)).state

    state = read_conversion(PUBLIC_DETECTORS[name].file_name, convert)
    return Checkpoint(state, COCO_CLASSES, name)


def make_backbone(checkpoint, **kwargs):
    """Makes the backbone of a checkpoint, without its weights.

    Args:
        checkpoint: `Checkpoint`.
        **kwargs: Arguments of the backbone.

    Returns:
        `ResNetBackbone` or `EPSANetBackbone`.

    Raises:
        ValueError: If there is no network that fits it.
    """
    variant = variant_of(checkpoint)
    is_resnet = variant in RESNET_CONFIGS
    cls = ResNetBackbone if is_resnet else EPSANetBackbone
    return cls.from_variant(variant, **kwargs)


def variant_of(checkpoint):
    """Returns the name of the network that computes what a backbone does.

    Args:
        checkpoint: `Checkpoint`.

    Returns:
        `"resnet50"`, `"resnet101"`, `"epsanet50_large"` or
        `"epsanet101_large"`.

    Raises:
        ValueError: If there is no network that fits it.
    """
    weights = read_resnet(
        {
            key.removeprefix("backbone."): array
            for key, array in checkpoint.state.items()
            if key.startswith("backbone.")
        }
    )
    for depth in (50, 101):
        if weights.name == f"ResNet-{depth}":
            return f"resnet{depth}"
        if weights.name == f"ResNeXt-{depth} 32x4d":
            return f"epsanet{depth}_large"
    raise ValueError(
        "The backbone must be a ResNet-50, ResNet-101 or ResNeXt 32x4d. "
        "Make a detector on another one, and load the file by "
        f"`load_mmdet_weights`. Received: {checkpoint.name}, of a "
        f"{weights.name}"
    )
