"""The variables of a network under the names of those who published it."""

import keras

from keras_epsanet.attention import SplitAttention
from keras_epsanet.weights.attention_names import PLAIN, PUBLISHED
from keras_epsanet.weights.entries import Constant, layer_entries
from keras_epsanet.weights.layer_names import (
    BLOCK,
    BRANCH,
    BRANCH_BLOCK,
    CLASSIFIER,
    STEM,
    network_layers,
)

_IN_BLOCK = {
    "0_conv": "downsample.0",
    "0_bn": "downsample.1",
    "1_conv": "conv1",
    "1_bn": "bn1",
    "2_conv": "conv2",
    "2_bn": "bn2",
    "3_conv": "conv3",
    "3_bn": "bn3",
}
# Behind a pooling.
_IN_POOLED_BLOCK = {
    **_IN_BLOCK,
    "0_conv": "downsample.1",
    "0_bn": "downsample.2",
}


def network_entries(model, state=None, dialect=None):
    """Lists the variables of a model that a published network has as well.

    Args:
        model: An EPSANet, a ResNet or one of their backbones.
        state: Dictionary whose keys, names of PyTorch, decide between the
            publishers of the attention; `None` means the first of them.
        dialect: `Dialect` of the publisher, or `None`.

    Returns:
        List of `Entry` and `Constant`.

    Raises:
        ValueError: If the names of the network's attention are not known, or
            no published network has its poolings.
    """
    layers = network_layers(model)
    dialects = [dialect] if dialect else _dialects_of(model, layers)
    candidates = [_entries(model, layers, names) for names in dialects]
    if state is None:
        return candidates[0]
    return max(candidates, key=lambda x: sum(e.key in state for e in x))


def attention_layers(layers):
    """Returns the layers of the attention by stage, from 1, and block, from 0.

    Args:
        layers: What `network_layers` returned.
    """
    found = {}
    for name, layer in layers.items():
        match = BLOCK.fullmatch(name) or BRANCH.fullmatch(name)
        if match and match.groups()[-1] not in _IN_BLOCK:
            stage, *block, _ = match.groups()
            place = int(stage) - 1, int(block[0]) - 1 if block else 0
            found[place] = layer
    return found


def _dialects_of(model, layers):
    kinds = {type(layer) for layer in attention_layers(layers).values()}
    if kinds != {SplitAttention} and any(
        layer.name.endswith("_2_pool") for layer in model.layers
    ):
        raise ValueError(
            "Only ResNeSt has average poolings behind its 3×3 convolutions: "
            "other published networks of these names, such as timm's "
            "resnet50d and Res2Net v1b, have their strides in the "
            "convolutions. Received: a network with "
            'downsampling="average" and another attention than "split"'
        )
    if not kinds:
        return (PLAIN,)
    for published in PUBLISHED.values():
        if kinds == {published.layer}:
            return published.dialects
    names = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise ValueError(
        "PyTorch's names are known for networks without attention and with "
        f"{', '.join(PUBLISHED)}. Files of Keras, .weights.h5 and .keras, "
        f"hold any other. Received: a network with {names}"
    )


def _entries(model, layers, dialect):
    attention = attention_layers(layers)
    places = {id(layer): place for place, layer in attention.items()}
    is_pooled = _shortcut_pools(model)
    entries = []
    for name, layer in layers.items():
        if id(layer) in places:
            stage, block = places[id(layer)]
            prefix = dialect.place.format(stage=stage, block=block)
            entries.extend(attention_entries(prefix, layer, dialect))
            continue
        scales, match = 1, BLOCK.fullmatch(name)
        if dialect.is_reversed and match and match[3] in ("2_bn", "3_conv"):
            psa = attention[int(match[1]) - 1, int(match[2]) - 1]
            scales = len(psa.kernel_sizes)
        key = _key_of(name, layers, dialect, is_pooled)
        entries.extend(layer_entries(key, layer, scales=scales))
    return entries


def attention_entries(prefix, layer, dialect):
    """Yields the entries of a layer of attention.

    Args:
        prefix: String in front of the names.
        layer: The layer, which has been built.
        dialect: `Dialect`.
    """
    for path, name in dialect.names.items():
        name, shape = name if isinstance(name, tuple) else (name, None)
        found = _part(layer, path)
        parts = found if isinstance(found, list) else [found]
        for i, part in enumerate(parts):
            key = name.format(i, i + 1)
            if dialect.single and len(parts) == 1:
                key = dialect.single
            yield from layer_entries(
                prefix + key, part, dialect.pointwise, shape=shape
            )
    for method, name in dialect.constants.items():
        yield Constant(prefix + name, getattr(layer, method)())


def _part(layer, path):
    """Returns what a path of attributes and places in lists leads to."""
    for step in path.split("."):
        if step == "*":
            layer = list(layer)
        elif step.isdigit():
            layer = layer[int(step)]
        else:
            layer = getattr(layer, step)
    return layer


def _shortcut_pools(model):
    """Returns a function that says whether a block's shortcut has a pooling.

    Networks with average poolings have one of 1×1 pixels, which does
    nothing, where there are no strides.
    """
    pools = [x for x in model.layers if x.name.endswith("_0_pool")]
    if any(isinstance(x, keras.layers.AveragePooling2D) for x in pools):
        return lambda block: True
    names = tuple(layer.name for layer in pools)
    return lambda block: any(x.endswith(f"{block}_0_pool") for x in names)


def _key_of(name, layers, dialect, is_pooled):
    """Returns the name of a layer that is not of the attention."""
    if name == CLASSIFIER:
        return "fc"
    stem = STEM.fullmatch(name)
    if stem:
        return _key_in_stem(int(stem[1] or 1), stem[2], layers)
    match = BLOCK.fullmatch(name)
    stage = "layer"
    if not match:
        match, stage = BRANCH_BLOCK.fullmatch(name), "att_layer"
    block = name.removesuffix(f"_{match[3]}")
    names = _IN_POOLED_BLOCK if is_pooled(block) else _IN_BLOCK
    inner = {**names, **dialect.in_block}[match[3]]
    return f"{stage}{int(match[1]) - 1}.{int(match[2]) - 1}.{inner}"


def _key_in_stem(number, kind, layers):
    total = sum(STEM.fullmatch(name) is not None for name in layers) // 2
    if number == total and kind == "bn":
        return "bn1"
    if total == 1:
        return "conv1"
    # Convolution, normalization, ReLU, one after the other.
    return f"conv1.{3 * (number - 1) + (kind == 'bn')}"
