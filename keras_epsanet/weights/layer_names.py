"""The names of a network's layers, found again in any model."""

import re

from keras_epsanet.layers import GroupedConv2D

# Stage, block, layer in the block: the attention has any other name.
BLOCK = re.compile(
    r"conv(\d+)_block(\d+)_([0-3]_conv|[0-3]_bn|(?!(?:add|out)$)[^\W\d]\w*)"
)
# The same of the copy of a stage that an attention branch has.
BRANCH_BLOCK = re.compile(r"conv(\d+)_branch_block(\d+)_([0-3]_conv|[0-3]_bn)")
# Stage, attention in front of it.
BRANCH = re.compile(r"conv(?!1_)(\d+)_((?!branch_|block\d)[^\W\d]\w*)")
STEM = re.compile(r"conv1_(?:(\d+)_)?(conv|bn)")
CLASSIFIER = "predictions"
_FIRST = "conv2_block1_1_conv"


def network_layers(model):
    """Returns the layers of the network in a model by their own names.

    Args:
        model: Functional model, whose layers may have a prefix.

    Returns:
        A dictionary from names without prefix to the layers of stem, blocks
        and classifier that have weights, and to those of the attention, in
        the order of the model.

    Raises:
        ValueError: If there is not one network among the layers of `model`.
    """
    prefix = _find_prefix(model)
    layers = {
        layer.name.removeprefix(prefix): layer
        for layer in model.layers
        if layer.name.startswith(prefix)
    }
    branches = {m[1] for m in map(BRANCH_BLOCK.fullmatch, layers) if m}
    return {
        name: layer
        for name, layer in layers.items()
        if name == CLASSIFIER
        or any(x.fullmatch(name) for x in (BLOCK, BRANCH_BLOCK, STEM))
        or ((match := BRANCH.fullmatch(name)) and match[1] in branches)
    }


def find_prefixes(model):
    """Lists what stands before the layer names of each network in a model."""
    # keras.applications has the same names, but another convolution.
    return [
        layer.name.removesuffix(_FIRST)
        for layer in model.layers
        if layer.name.endswith(_FIRST) and isinstance(layer, GroupedConv2D)
    ]


def _find_prefix(model):
    prefixes = find_prefixes(model)
    if len(prefixes) == 1:
        return prefixes[0]
    if prefixes:
        raise ValueError(
            f"The model holds {len(prefixes)} networks, and must be one of "
            f"them. Received: layers with the prefixes {prefixes}"
        )
    names = [layer.name for layer in model.layers[:8]]
    raise ValueError(
        "The model must be an EPSANet, a ResNet or one of their backbones "
        "itself, not one that contains it as a layer. "
        f"Received: layers {names}, ..."
    )
