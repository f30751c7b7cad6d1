"""The networks of timm that this package builds, by their names there."""

from typing import NamedTuple

from keras_epsanet.attention import SE
from keras_epsanet.hub.backbones import differing_layers, frame_of
from keras_epsanet.hub.fronts import data_format_of, stem_input
from keras_epsanet.models.epsanet import pyramid_attention
from keras_epsanet.models.resnet import ResNet
from keras_epsanet.models.resnet_variants import network_arguments
from keras_epsanet.models.variants import MODEL_CONFIGS
from keras_epsanet.weights.attention_names import PLAIN, PUBLISHED, Dialect

_BLOCKS = {26: (2, 2, 2, 2), 152: (3, 8, 36, 3)}
_BLOCKS |= {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
_PYRAMID = ("kernel_sizes", "groups", "reduction", "split_input")
# A single scale is a grouped convolution, whose attention is always 1.
_ONE_SCALE = Dialect({"spc.convolutions.*": "conv2"}, single="conv2")
_TIMM_SE = PUBLISHED["se"].dialects[1]


class Network(NamedTuple):
    """A network of timm.

    Attributes:
        frame: Dictionary of arguments of `ResNet`.
        attention: What its `attention` takes.
        dialect: `Dialect`, the names of its weights.
    """

    frame: dict
    attention: object
    dialect: Dialect

    def build(self, **kwargs):
        """Builds it with further arguments of `ResNet`."""
        return ResNet(**self.frame, attention=self.attention, **kwargs)


def _resnet(depth, width=64, attention=None, dialect=PLAIN):
    frame = {
        "stackwise_num_blocks": _BLOCKS[depth],
        "stackwise_num_filters": tuple(width * 2**i for i in range(4)),
        "expansion": 256 // width,
    }
    return Network(frame, attention, dialect)


def _resnext(depth, groups, width):
    attention = pyramid_attention((3,), (groups,))
    return _resnet(depth, groups * width, attention, _ONE_SCALE)


def _named(variant, attention):
    dialect = PUBLISHED[attention].dialects[0]
    frame = network_arguments(variant, attention)
    return Network(frame, attention, dialect)


def pyramid_network(arguments):
    """Makes an EPSANet, which timm has not, in the names of its authors.

    Args:
        arguments: Dictionary of arguments of `EPSANet`.

    Returns:
        `Network`.
    """
    frame = {k: v for k, v in arguments.items() if k not in _PYRAMID}
    pyramid = {k: v for k, v in arguments.items() if k in _PYRAMID}
    attention = pyramid_attention(**pyramid)
    return Network(frame, attention, PUBLISHED["psa"].dialects[0])


TIMM_NETWORKS = {
    **{f"resnet{depth}": _resnet(depth) for depth in (26, 50, 101, 152)},
    "wide_resnet50_2": _resnet(50, 128),
    "wide_resnet101_2": _resnet(101, 128),
    "resnext50_32x4d": _resnext(50, 32, 4),
    "resnext101_32x4d": _resnext(101, 32, 4),
    "resnext101_32x8d": _resnext(101, 32, 8),
    "resnext101_64x4d": _resnext(101, 64, 4),
    **{
        f"seresnet{depth}": _resnet(depth, 64, SE(use_bias=True), _TIMM_SE)
        for depth in (50, 101, 152)
    },
    "skresnext50_32x4d": _named("resnet50", "sk"),
    "resnest50d": _named("resnet50", "split"),
    "resnest101e": _named("resnet101", "split"),
    "res2net50_26w_4s": _named("resnet50", "res2net"),
    "res2net101_26w_4s": _named("resnet101", "res2net"),
}
NETWORKS = TIMM_NETWORKS | {
    name: pyramid_network(config) for name, config in MODEL_CONFIGS.items()
}
# One of other sizes, whose arguments are written beside its name.
ANY_EPSANET = "epsanet"


def architecture_of(model):
    """Returns timm's name of a network.

    Args:
        model: A network of this package, or a classifier with one in it.

    Returns:
        String, or `None` if it is none of them.
    """
    frame = frame_of(model)
    for name, network in NETWORKS.items():
        if any(frame[key] != value for key, value in network.frame.items()):
            continue
        other = network.build(
            include_top=False,
            input_shape=tuple(stem_input(model).shape[1:]),
            data_format=data_format_of(model),
        )
        if not differing_layers(model, other):
            return name
    return None
