"""The attentions that have a name, each as its authors put it into ResNets."""

import difflib
import functools

import keras

from keras_epsanet import attention as layers
from keras_epsanet.layers import PSA
from keras_epsanet.models.attention_slot import AttentionSlot, NamedSlot

# Height and width of the stages' feature maps at 224×224.
_SIZES = (56, 28, 14, 7)
# Kernel sizes of ECA's published weights, by the blocks of the network.
_ECA_KERNELS = {(3, 4, 6, 3): (3, 5, 5, 7), (3, 4, 23, 3): (3, 3, 5, 7)}
# Kernels, groups and shares of the filters of PyConvResNet's four stages.
_PYRAMIDS = (
    ((3, 5, 7, 9), (1, 4, 8, 16), (4, 4, 4, 4)),
    ((3, 5, 7), (1, 4, 8), (4, 4, 2)),
    ((3, 5), (1, 4), (2, 2)),
    ((3,), (1,), (1,)),
)


def _psa(place):
    return PSA(place.channels)


def _eca(place):
    kernels = _ECA_KERNELS.get(place.num_blocks)
    return layers.ECA(kernels and kernels[place.stage - 1])


def _fca(place):
    # The grid is a multiple of 7, the published ones at 224×224.
    height = place.size[0]
    if height is None:
        height = _SIZES[min(place.stage, len(_SIZES)) - 1]
    return layers.FCA(7 * max(height // 7, 1))


def _aa(place):
    values = max(place.channels // 10 // 8 * 8, 8)
    size = place.size
    if None in size:
        size = (_SIZES[min(place.stage, len(_SIZES)) - 1],) * 2
    keys = max(2 * place.channels // 10 // 8 * 8, 160)
    return layers.AttentionAugmentedConv2D(
        place.channels, keys, values, table_size=size
    )


def _pyconv(place):
    kernels, groups, shares = _PYRAMIDS[min(place.stage, len(_PYRAMIDS)) - 1]
    filters = [place.channels // share for share in shares]
    return layers.PyConv2D(filters, kernels, groups)


def _sk(place):
    return layers.SelectiveKernel(place.channels)


def _split(place):
    return layers.SplitAttention(place.channels)


def _res2net(place):
    return layers.HierarchicalSplit(chained=place.block > 1)


def _abn(place):
    return layers.AttentionBranch(place.classes)


def _plain(cls, **arguments):
    return lambda place: cls(**arguments)


# The places of attention that stands behind whole blocks.
_BAM = [(1, -1), (2, -1), (3, -1)]
_A2 = [(2, 2), (2, 4), (3, 2), (3, 4), (3, 6)]
_NON_LOCAL = [(3, -2)]
_LAST_THREE = [2, 3, 4]

NAMED = {
    name: functools.partial(NamedSlot, make, slot, places, name)
    for name, make, slot, places in (
        ("psa", _psa, "convolution", None),
        ("se", _plain(layers.SE), "residual", None),
        ("cbam", _plain(layers.CBAM), "residual", None),
        ("bam", _plain(layers.BAM), "output", _BAM),
        ("a2", _plain(layers.DoubleAttention), "output", _A2),
        ("abn", _abn, "branch", None),
        ("gc", _plain(layers.GlobalContext), "residual", None),
        ("triplet", _plain(layers.TripletAttention), "residual", None),
        ("aa", _aa, "convolution", _LAST_THREE),
        ("eca", _eca, "residual", None),
        ("fca", _fca, "residual", None),
        ("srm", _plain(layers.SRM), "residual", None),
        ("sa", _plain(layers.ShuffleAttention), "residual", None),
        ("non_local", _plain(layers.NonLocal), "output", _NON_LOCAL),
        ("pyconv", _pyconv, "convolution", None),
        ("sk", _sk, "convolution_norm_relu", None),
        ("split", _split, "convolution_norm_relu", None),
        ("res2net", _res2net, "convolution_norm_relu", None),
        ("simam", _plain(layers.SimAM), "after_convolution", None),
        ("coordinate", _plain(layers.CoordinateAttention), "residual", None),
        ("ema", _plain(layers.EMA), "residual", None),
    )
}
# What the published networks have else than other filters for the blocks.
NETWORKS = {
    "pyconv": {"stem_pool": False, "downsampling": "max"},
    "sk": {"stackwise_num_filters": (128, 256, 512, 1024), "expansion": 2},
    "split": {"stem_filters": (32, 32, 64), "downsampling": "average"},
    "res2net": {
        "stackwise_num_filters": (104, 208, 416, 832),
        "expansion": 256 / 104,
    },
}
_NAME_OF_CLASS = {
    PSA: "psa",
    layers.SE: "se",
    layers.CBAM: "cbam",
    layers.BAM: "bam",
    layers.DoubleAttention: "a2",
    layers.GlobalContext: "gc",
    layers.TripletAttention: "triplet",
    layers.AttentionAugmentedConv2D: "aa",
    layers.ECA: "eca",
    layers.FCA: "fca",
    layers.SRM: "srm",
    layers.ShuffleAttention: "sa",
    layers.NonLocal: "non_local",
    layers.SelectiveKernel: "sk",
    layers.SplitAttention: "split",
    layers.HierarchicalSplit: "res2net",
    layers.SimAM: "simam",
    layers.CoordinateAttention: "coordinate",
    layers.EMA: "ema",
}


def resolve_attention(attention):
    """Returns the slot that `attention=` of a network means.

    Args:
        attention: `None`, one of the names, a layer, a function that makes
            one from the channels and the stage, or an `AttentionSlot`.

    Returns:
        `AttentionSlot`, or `None`.

    Raises:
        ValueError: If it is something else.
    """
    if attention is None or isinstance(attention, AttentionSlot):
        return attention
    if isinstance(attention, str) and attention in NAMED:
        return NAMED[attention]()
    if isinstance(attention, keras.layers.Layer):
        name = _NAME_OF_CLASS.get(type(attention))
        slot = NAMED[name]() if name else AttentionSlot(attention)
        return AttentionSlot(attention, slot.slot, slot.places, slot.name)
    if isinstance(attention, (str, type)) or not callable(attention):
        hint = ""
        if isinstance(attention, type):
            hint = f" A layer is made by {attention.__name__}(…)."
        if isinstance(attention, str):
            close = difflib.get_close_matches(attention, NAMED, n=1)
            hint = f' Is "{close[0]}" meant?' if close else ""
        raise ValueError(
            f"`attention` must be None, one of {', '.join(NAMED)}, a layer, "
            "a function of the channels and the stage that makes one, or an "
            f"AttentionSlot.{hint} Received: attention={attention!r}"
        )
    return AttentionSlot(attention)
