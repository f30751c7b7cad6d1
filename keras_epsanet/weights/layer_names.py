"""The names of an EPSANet's layers, found again in any model."""

import re

# Stage, block, layer in the block.
BLOCK = re.compile(r"conv(\d+)_block(\d+)_(psa|[013]_conv|[0-3]_bn)")
# The stem may be several convolutions.
OUTSIDE = re.compile(r"conv1_(\d+_)?(conv|bn)|predictions")


def network_layers(model):
    """Returns the layers of the EPSANet in a model by their own names.

    Args:
        model: Functional model, whose layers may have a prefix.

    Returns:
        A dictionary from names without prefix to those layers that have
        weights in an EPSANet, in the order of the model.

    Raises:
        ValueError: If there is not one EPSANet among the layers of `model`.
    """
    prefix = _find_prefix(model)
    layers = {
        layer.name.removeprefix(prefix): layer
        for layer in model.layers
        if layer.name.startswith(prefix)
    }
    return {
        name: layer
        for name, layer in layers.items()
        if OUTSIDE.fullmatch(name) or BLOCK.fullmatch(name)
    }


def find_prefixes(model):
    """Lists what stands before the layer names of each EPSANet in a model."""
    names = [layer.name for layer in model.layers]
    first = "conv2_block1_psa"
    return [x.removesuffix(first) for x in names if x.endswith(first)]


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
        "The model must be an EPSANet or an EPSANetBackbone itself, not "
        f"one that contains it as a layer. Received: layers {names}, ..."
    )
