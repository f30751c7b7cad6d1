"""Public weights of ResNets: where they are, and under which terms."""

import difflib
import re
from typing import NamedTuple

from keras_epsanet.weights.downloads import fetch

_IMAGENET = "ImageNet-1k"
_RESNET = (
    "He et al., Deep Residual Learning for Image Recognition, 2016, "
    "https://arxiv.org/abs/1512.03385"
)
_RESNEXT = (
    "Xie et al., Aggregated Residual Transformations for Deep Neural "
    "Networks, 2017, https://arxiv.org/abs/1611.05431"
)
_RECIPES = {
    "timm": (
        "Wightman et al., ResNet strikes back, 2021, "
        "https://arxiv.org/abs/2110.00476"
    ),
    "gluon": (
        "He et al., Bag of Tricks for Image Classification with "
        "Convolutional Neural Networks, 2019, "
        "https://arxiv.org/abs/1812.01187"
    ),
    "facebook": (
        "Yalniz et al., Billion-scale semi-supervised learning for image "
        "classification, 2019, https://arxiv.org/abs/1905.00546"
    ),
}


class PublicFile(NamedTuple):
    """A file of weights that its publisher offers.

    The license is what the publisher says of the weights, or of the code
    where it says nothing of them. The accuracy is in percent, at 224×224.
    """

    url: str
    publisher: str
    license: str
    data_set: str
    paper: str
    top1: float | None = None
    megabytes: float | None = None  # MiB, where published.
    md5: str | None = None  # Where the name holds no part of the SHA-256.
    reached: str | None = None  # In words, where it is no top-1 accuracy.

    @property
    def file_name(self):
        return self.url.rpartition("/")[-1]

    @property
    def digest(self):
        """The MD5, or the first 8 hexadecimal digits of the SHA-256."""
        return self.md5 or re.search(r"-([0-9a-f]{8})\.", self.file_name)[1]

    @property
    def is_non_commercial(self):
        return "non-commercial use only" in self.license


def _files(base, ending, publisher, license, rows, data=_IMAGENET, recipe=""):
    """Entries of one publisher, from rows of name, file, top-1 and size."""
    files = {}
    for name, file, *figures in rows:
        papers = [_RESNEXT if name.startswith("resnext") else _RESNET]
        papers += [_RECIPES[recipe]] if recipe else []
        files[name] = PublicFile(
            f"{base}{file}{ending}",
            publisher,
            license,
            data,
            "; ".join(papers),
            *figures,
        )
    return files


_GITHUB = "https://github.com/"
_TIMM = _GITHUB + "huggingface/pytorch-image-models/releases/download/v0.1-"
_TIMM_LICENSE = (
    "Apache-2.0; its publisher advises to assume that the non-commercial "
    "terms of ImageNet carry over"
)
_MMPRETRAIN = "https://download.openmmlab.com/mmclassification/v0/"
_FACEBOOK = "https://dl.fbaipublicfiles.com/semiweaksupervision/model_files/"
_FACEBOOK_LICENSE = "CC-BY-NC 4.0: non-commercial use only"
PUBLIC_FILES = {
    # torchvision models/resnet.py: top-1 and size.
    **_files(
        "https://download.pytorch.org/models/",
        ".pth",
        "torchvision",
        "BSD-3-Clause; its publisher says that terms of the data set may "
        "apply too",
        [
            ("resnext50_32x4d.tv", "resnext50_32x4d-7cdf4587", 77.618, 95.789),
            ("resnext50_32x4d.tv2", "resnext50_32x4d-1a0047aa", 81.198, 95.833),
            ("resnet50.tv", "resnet50-0676ba61", 76.130, 97.781),
            ("resnet50.tv2", "resnet50-11ad3fa6", 80.858, 97.790),
            ("resnet101.tv", "resnet101-63fe2227", 77.374, 170.511),
            ("resnet101.tv2", "resnet101-cd907fc2", 81.886, 170.530),
        ],
    ),
    # timm models/resnet.py; top-1 of results/results-imagenet.csv.
    **_files(
        f"{_TIMM}rsb-weights/",
        ".pth",
        "timm",
        _TIMM_LICENSE,
        [
            ("resnext50_32x4d.a1h", "resnext50_32x4d_a1h-0146ab0a", 81.14),
            ("resnext50_32x4d.a1", "resnext50_32x4d_a1_0-b5a91a1d", 80.526),
            ("resnext50_32x4d.a2", "resnext50_32x4d_a2_0-efc76add", 80.444),
            ("resnext50_32x4d.a3", "resnext50_32x4d_a3_0-3e450271", 79.258),
            ("resnet50.a1h", "resnet50_a1h2_176-001a1197", 80.654),
            ("resnet50.a1", "resnet50_a1_0-14fe96d1", 80.382),
            ("resnet50.a2", "resnet50_a2_0-a2746f79", 79.828),
            ("resnet50.a3", "resnet50_a3_0-59cae1ef", 78.052),
            ("resnet50.b1k", "resnet50_b1k-532a802a", 79.564),
            ("resnet50.b2k", "resnet50_b2k-1ba180c1", 79.388),
            ("resnet50.c1", "resnet50_c1-5ba5e060", 79.766),
            ("resnet50.c2", "resnet50_c2-d01e05b2", 79.868),
            ("resnet50.d", "resnet50_d-f39db8af", 79.904),
            ("resnet101.a1h", "resnet101_a1h-36d3f2aa", 81.95),
            ("resnet101.a1", "resnet101_a1_0-cdcb52a9", 81.494),
            ("resnet101.a2", "resnet101_a2_0-6edb36c7", 81.344),
            ("resnet101.a3", "resnet101_a3_0-1db14157", 79.836),
        ],
        recipe="timm",
    ),
    **_files(
        f"{_TIMM}weights/",
        ".pth",
        "timm",
        _TIMM_LICENSE,
        [
            ("resnext50_32x4d.ra", "resnext50_32x4d_ra-d733960d", 79.8),
            ("resnet50.ra", "resnet50_ra-85ebb6e5", 78.82),
            ("resnet50.ram", "resnet50_ram-a26f946b", 79.034),
            ("resnet50.am", "resnet50_am-6c502b37", 79.004),
            ("resnet50.bt", "rw_resnet50-86acaeed", 78.444),
        ],
    ),
    **_files(
        _GITHUB
        + "rwightman/pytorch-pretrained-gluonresnet/releases/download/v0.1/",
        ".pth",
        "GluonCV, in PyTorch's form by timm's author",
        _TIMM_LICENSE,
        [
            (
                "resnext50_32x4d.gluon",
                "gluon_resnext50_32x4d-e6a097c1",
                79.354,
            ),
            (
                "resnext101_32x4d.gluon",
                "gluon_resnext101_32x4d-b253c8c4",
                80.336,
            ),
            ("resnet50.gluon", "gluon_resnet50_v1b-0ebe02e2", 77.58),
            ("resnet101.gluon", "gluon_resnet101_v1b-3b017079", 79.306),
        ],
        recipe="gluon",
    ),
    # MMPretrain configs/resnet/metafile.yml, configs/resnext/metafile.yml.
    **_files(
        _MMPRETRAIN,
        ".pth",
        "OpenMMLab, MMPretrain",
        "Apache-2.0 of the repository, which says nothing of the weights",
        [
            (
                "resnext50_32x4d.mmpretrain",
                "resnext/resnext50_32x4d_b32x8_imagenet_20210429-56066e27",
                77.90,
            ),
            (
                "resnext101_32x4d.mmpretrain",
                "resnext/resnext101_32x4d_b32x8_imagenet_20210506-e0fa3dd5",
                78.61,
            ),
            (
                "resnet50.mmpretrain",
                "resnet/resnet50_8xb32_in1k_20210831-ea4938fc",
                76.55,
            ),
            (
                "resnet101.mmpretrain",
                "resnet/resnet101_8xb32_in1k_20210831-539c63f8",
                77.97,
            ),
        ],
    ),
    # hubconf.py of facebookresearch/semi-supervised-ImageNet1K-models.
    **_files(
        f"{_FACEBOOK}semi_supervised_",
        ".pth",
        "Facebook",
        _FACEBOOK_LICENSE,
        [
            ("resnext50_32x4d.fb_ssl", "resnext50_32x4-ddb3e555", 80.316),
            ("resnext101_32x4d.fb_ssl", "resnext101_32x4-dc43570a", 80.936),
            ("resnet50.fb_ssl", "resnet50-08389792", 79.252),
        ],
        f"YFCC100M, {_IMAGENET}",
        "facebook",
    ),
    **_files(
        f"{_FACEBOOK}semi_weakly_supervised_",
        ".pth",
        "Facebook",
        _FACEBOOK_LICENSE,
        [
            ("resnext50_32x4d.fb_swsl", "resnext50_32x4-72679e44", 82.162),
            ("resnext101_32x4d.fb_swsl", "resnext101_32x4-3f87e46b", 83.268),
            ("resnet50.fb_swsl", "resnet50-16a12f1b", 81.146),
        ],
        f"940 million images of Instagram (not public), {_IMAGENET}",
        "facebook",
    ),
    # keras_applications/resnet_common.py: MD5, read without PyTorch.
    **_files(
        f"{_GITHUB}keras-team/keras-applications/releases/download/resnet/",
        "_weights_tf_dim_ordering_tf_kernels.h5",
        "keras-applications",
        "MIT of the code; the license of the weights is unclear, for those "
        "of its reference, Facebook's ResNeXt, are CC-BY-NC 4.0",
        [
            (
                "resnext50_32x4d.keras",
                "resnext50",
                None,
                None,
                "67a5b30d522ed92f75a1f16eef299d1a",
            ),
            (
                "resnext101_32x4d.keras",
                "resnext101",
                None,
                None,
                "34fb605428fcc7aa4d62f44404c11509",
            ),
        ],
    ),
}
# Of those that may be used for any purpose, as far as their publishers say.
DEFAULTS = {
    "resnext50_32x4d": "resnext50_32x4d.tv2",
    "resnext101_32x4d": "resnext101_32x4d.gluon",
}


def download(name, timeout=30):
    """Downloads a public file of weights into Keras' cache, once.

    It is in `models/keras_epsanet` under `KERAS_HOME` or `~/.keras`. Before
    the download, its URL, size, publisher, license, data set and the papers
    to cite are printed. A file that is there already is checked and used.

    Args:
        name: Key of `PUBLIC_FILES`, or of `DEFAULTS` for the file that it
            names. Files for non-commercial use have their own names alone.
        timeout: Number, seconds without any byte after which the download
            is given up.

    Returns:
        String, the path of the file.

    Raises:
        ValueError: If there is no such name.
        OSError: If the file cannot be downloaded as a whole, or its hash is
            wrong. Nothing of it is left.

    Example:

    >>> file = PUBLIC_FILES[DEFAULTS["resnext50_32x4d"]]
    >>> file.file_name, file.publisher, file.top1
    ('resnext50_32x4d-1a0047aa.pth', 'torchvision', 81.198)
    """
    file = PUBLIC_FILES.get(DEFAULTS.get(name, name))
    if file is None:
        names = [*DEFAULTS, *PUBLIC_FILES]
        near = difflib.get_close_matches(str(name), names, n=3)
        # All of them would be a message that nobody reads.
        known = f"Similar: {', '.join(near)}" if near else f"One is {names[0]}"
        raise ValueError(
            f"There is no public ResNet of this name. {known}. "
            f"docs/trained_start.md has all of them. Received: name={name}"
        )
    return fetch(file, timeout)
