"""What the names in a state dict say of the network that it is of."""

from keras_epsanet.weights.attention_names import FOREIGN, PUBLISHED
from keras_epsanet.weights.layer_names import network_layers
from keras_epsanet.weights.network_entries import (
    attention_layers,
    network_entries,
)

_BACKBONE = "backbone."
_OF_DETECTORS = ("neck.", "rpn_head.", "roi_head.", "bbox_head.", "mask_head.")


def common_names(state):
    """Returns a state dict in the names of a network that stands alone.

    Args:
        state: Dictionary from names to arrays. MMPretrain and MMDetection
            have `backbone.` in front of those of the network, and other
            parts beside it, of which the classifier is kept.
    """
    if not any(key.startswith(_BACKBONE) for key in state):
        return state
    return {
        key.removeprefix(_BACKBONE).removeprefix("head."): array
        for key, array in state.items()
        if not key.startswith(_OF_DETECTORS)
    }


def why_another_network(model, state):
    """Says what a state dict seems to hold, if it is not this network.

    Args:
        model: An EPSANet, a ResNet or one of their backbones.
        state: Dictionary from names of PyTorch to arrays.

    Returns:
        String, empty if nothing speaks for another network.
    """
    for name, what in FOREIGN.items():
        if any(key.endswith(name) for key in state):
            return f"The file seems to hold {what}."
    layers = list(attention_layers(network_layers(model)).values())
    wanted = _name_of(layers[0]) if layers else None
    found = _attention_in(state)
    if wanted == found:
        entries = network_entries(model, state)
        return (
            _why_stem(entries, state)
            or _why_tables(entries, state)
            or _why_biases(entries, layers, state)
        )
    if "layer1.0.conv1.weight" not in state and found is None:
        return ""
    reason = (
        f"The file seems to hold a ResNet {_with(found)}, and the model is "
        f"one {_with(wanted)}."
    )
    if found is None:
        reason += " `keras_epsanet.inherit_weights` starts it from such a file."
    return reason


def _with(name):
    return f'with attention="{name}"' if name else "without attention"


def _name_of(layer):
    for name, published in PUBLISHED.items():
        if type(layer) is published.layer:
            return name
    return type(layer).__name__


def _attention_in(state):
    """Returns the name of the attention that has names in a state dict."""
    keys = [f".{key}" for key in state]
    for name, published in PUBLISHED.items():
        for dialect in published.dialects:
            first = next(iter(dialect.names.values()))
            first = first[0] if isinstance(first, tuple) else first
            first = "." + first.format(0, 1)
            if any(key.endswith((first, f"{first}.weight")) for key in keys):
                return name
    return None


def _why_stem(entries, state):
    """Says that only the file has a stem of several convolutions."""
    first = "conv1.0.weight"
    if first not in state or any(entry.key == first for entry in entries):
        return ""
    return (
        "The file seems to hold a network whose stem has three convolutions, "
        "such as timm's resnet50d or Res2Net v1b. Of these only ResNeSt, "
        'attention="split", is in this package.'
    )


def _why_tables(entries, state):
    """Says that the file has tables for images of another size."""
    for entry in entries:
        found = state.get(entry.key)
        if entry.variable is not None or found is None:
            continue
        if found.shape != entry.torch_shape:
            return (
                f"The attention in the file has tables of {found.shape}, that "
                f"of the model of {entry.torch_shape}, which follow from the "
                "size of the images. Published files have those of 224×224, "
                "as a model with input_shape=(None, None, 3) has."
            )
    return ""


def _why_biases(entries, layers, state):
    """Says that only one of file and model has biases in its attention."""
    use_bias = getattr(layers[0], "use_bias", None) if layers else None
    differing = {entry.key for entry in entries} ^ state.keys()
    biases = {key for key in differing if key.endswith(".bias")}
    # There are two in a layer. One that is missing is another mistake.
    if use_bias is None or len(biases) < 2 * len(layers):
        return ""
    return (
        f"The attention in the file has {'no ' if use_bias else ''}biases, "
        f"that of the model has {'some' if use_bias else 'none'}: "
        f"attention={type(layers[0]).__name__}(use_bias={not use_bias}) "
        "fits it."
    )
