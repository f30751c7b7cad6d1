"""The networks that are compared: one frame, one attention each."""

import difflib
from typing import NamedTuple

from keras_epsanet.classification.comparison.psa_variants import PSA_VARIANTS
from keras_epsanet.models.attention_slot import AttentionSlot
from keras_epsanet.models.named_attention import (
    NAMED,
    NETWORKS,
    resolve_attention,
)
from keras_epsanet.models.resnet import ResNet
from keras_epsanet.models.resnet_variants import RESNET_CONFIGS

# The network without attention, against which the others are measured.
NONE = "none"
NAMES = (NONE, *NAMED, *PSA_VARIANTS)


class Frame(NamedTuple):
    """What all networks of a comparison have in common.

    Attributes:
        model: String, its name.
        blocks: Tuple of integers, blocks of every stage.
        filters: Tuple of integers, filters of every stage's 3×3 convolutions.
    """

    model: str
    blocks: tuple
    filters: tuple


# The narrow one is for 48×48 pixels. It has every place that an attention can
# have, and the least channels that all of them take: PSA's branches of 16
# groups want 64 filters, the 64 groups of SA 128 channels of a block's output.
FRAMES = {
    "narrow": Frame("narrow", (1, 2, 2, 1), (64, 64, 128, 128)),
    **{
        name: Frame(
            name,
            config["stackwise_num_blocks"],
            config["stackwise_num_filters"],
        )
        for name, config in RESNET_CONFIGS.items()
    },
}


def check_names(names):
    """Raises if an attention is unknown or named twice.

    Args:
        names: List of strings.

    Raises:
        ValueError: With the names that there are.

    Example:

    >>> check_names(["se", "cbam", "psa_sigmoid"])
    """
    for name in names:
        if name not in NAMES:
            close = difflib.get_close_matches(name, NAMES, n=1)
            hint = f" Is {close[0]} meant?" if close else ""
            raise ValueError(
                f"An attention is one of {', '.join(NAMES)}.{hint} "
                f"Received: {name}"
            )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"Every attention is compared once. Received: {', '.join(twice)} "
            "twice"
        )


def build_network(name, frame, image_size, classes, **kwargs):
    """Builds the network of an attention.

    The multi-scale peers bring the widths, the stem and the shortcuts of
    their published networks along, as in `keras_epsanet.ResNet50`.

    Args:
        name: String, one of `NAMES`.
        frame: `Frame`.
        image_size: Integer, side of the images in pixels.
        classes: Integer, number of classes.
        **kwargs: Further arguments of `keras_epsanet.ResNet`.

    Returns:
        `keras.Model` from normalized images to logits `(N, classes)`; for
        `"abn"` to a list of these and the logits of the branch.

    Raises:
        ValueError: If the attention does not fit the frame. The message
            names it.

    Example:

    >>> network = build_network("abn", FRAMES["narrow"], 48, 10)
    >>> network.output_shape
    [(None, 10), (None, 10)]
    """
    try:
        attention = _slot(name)
        network = ResNet(
            attention=attention,
            branch_output=name == "abn",
            input_shape=(image_size, image_size, 3),
            classes=classes,
            classifier_activation=None,
            name=f"{frame.model}_{name}",
            **(_arguments(name, frame) | kwargs),
        )
    except ValueError as error:
        raise ValueError(
            f"{name} does not fit blocks={frame.blocks} and "
            f"filters={frame.filters}: {error}"
        ) from error
    if attention and not _holds(network, attention):
        raise ValueError(
            f"{name} has no place in this network, which would be that "
            f"without attention. Received: blocks={frame.blocks}"
        )
    return network


def _slot(name):
    if name in PSA_VARIANTS:
        return AttentionSlot(PSA_VARIANTS[name], "convolution", None, "psa")
    return resolve_attention(None if name == NONE else name)


def _arguments(name, frame):
    """Blocks and widths, and what a published network has besides."""
    published = dict(NETWORKS.get(name, {}))
    usual = RESNET_CONFIGS["resnet50"]["stackwise_num_filters"]
    theirs = published.pop("stackwise_num_filters", usual)
    factor = theirs[0] / usual[0]
    return {
        "stackwise_num_blocks": frame.blocks,
        "stackwise_num_filters": [round(factor * x) for x in frame.filters],
        "expansion": 4,
        **published,
    }


def _holds(network, attention):
    suffix = f"_{attention.name}"
    return any(layer.name.endswith(suffix) for layer in network.layers)
