"""The backbone that a network is built on, found from its layers."""

import re

import keras
import numpy as np

from keras_epsanet.hub.fronts import stem_input
from keras_epsanet.layers import PSA
from keras_epsanet.models.backbone import EPSANetBackbone
from keras_epsanet.models.named_attention import NAMED
from keras_epsanet.models.resnet_backbone import ResNetBackbone
from keras_epsanet.weights.layer_names import (
    BLOCK,
    CLASSIFIER,
    STEM,
    find_prefixes,
    network_layers,
)
from keras_epsanet.weights.network_entries import attention_layers

# What may differ between layers that compute the same from equal weights.
_OF_TRAINING = re.compile(
    "name|dtype|trainable|synchronized|norm_eval"
    "|.*_(initializer|regularizer|constraint)"
)
# Height and width of the image with which networks for any are compared.
_SIDE = 64
_DOWNSAMPLING = {
    keras.layers.AveragePooling2D: "average",
    keras.layers.MaxPooling2D: "max",
}


def backbone_like(model):
    """Makes the backbone of a trained network, with its weights.

    Args:
        model: An EPSANet, a ResNet of this package with or without
            attention, or a classifier that has the layers of one, such as
            the `model.keras` of a training.

    Returns:
        An `EPSANetBackbone` or `ResNetBackbone` for normalized images, of
        any size where the attention allows it. All of it trains; one of
        mixed precision computes in the precision of its weights.

    Raises:
        ValueError: If the model holds no network, or one that no arguments
            of the backbones make.

    Example:

    >>> from keras_epsanet import EPSANet50Small
    >>> model = EPSANet50Small(include_preprocessing=True, classes=5)
    >>> backbone = backbone_like(model)
    >>> type(backbone).__name__, backbone.output_shape
    ('EPSANetBackbone', (None, None, None, 2048))
    """
    layers = network_layers(model)
    differing = []
    for cls, arguments in _candidates(model, layers):
        try:
            backbone = cls(**arguments)
        except ValueError:
            continue
        differing = differing_layers(model, backbone)
        if not differing:
            for name, layer in network_layers(backbone).items():
                layer.set_weights(layers[name].get_weights())
            if _same_features(model, backbone):
                return backbone
    raise ValueError(
        "The network is none that the arguments of EPSANetBackbone or "
        f"ResNetBackbone make. Received: the model {model.name}, in which "
        + (
            f"{', '.join(differing[:8])} differ"
            if differing
            else "layers of the same names are connected differently"
        )
    )


def frame_of(model):
    """Reads the arguments of a `ResNetBackbone` but for its attention.

    Args:
        model: As in `backbone_like`.

    Returns:
        Dictionary of arguments.
    """
    layers = network_layers(model)
    blocks = {}
    for match in filter(None, map(BLOCK.fullmatch, layers)):
        stage, block = int(match[1]), int(match[2])
        blocks[stage] = max(block, blocks.get(stage, 0))
    first = [layers[f"conv{stage}_block1_1_conv"] for stage in sorted(blocks)]
    expansion = layers["conv2_block1_3_conv"].filters / first[0].filters
    stem = [
        layer
        for name, layer in layers.items()
        if STEM.fullmatch(name) and name.endswith("conv")
    ]
    pools = [x for x in model.layers if x.name.endswith("_0_pool")]
    (prefix,) = find_prefixes(model)
    return {
        "stackwise_num_blocks": tuple(blocks[x] for x in sorted(blocks)),
        "stackwise_num_filters": tuple(x.filters for x in first),
        "expansion": int(expansion) if expansion % 1 == 0 else expansion,
        "stem_filters": tuple(layer.filters for layer in stem),
        "stem_pool": any(x.name == f"{prefix}pool1_pool" for x in model.layers),
        "downsampling": (
            _DOWNSAMPLING[type(pools[0])] if pools else "convolution"
        ),
    }


def _candidates(model, layers):
    """Yields classes and arguments, the plainest ones first."""
    stem = next(iter(layers.values()))
    shape = tuple(stem.input.shape[1:])
    is_last = stem.data_format == "channels_last"
    free = (None, None, shape[-1]) if is_last else (shape[0], None, None)
    # KerasHub loads no task of mixed precision that is not told of it.
    dtype = stem.dtype_policy.variable_dtype
    common = {"data_format": stem.data_format, "dtype": dtype}
    frame = frame_of(model)
    found = list(attention_layers(layers).values())
    for image_shape in dict.fromkeys((free, shape)):
        common["image_shape"] = image_shape
        if found and all(isinstance(layer, PSA) for layer in found):
            yield EPSANetBackbone, {**common, **_pyramid(frame, found[0])}
            continue
        for attention in _attentions(found):
            classes = getattr(found[0], "classes", 1000) if found else 1000
            yield (
                ResNetBackbone,
                {**common, **frame, "attention": attention, "classes": classes},
            )


def _pyramid(frame, psa):
    names = ("stackwise_num_blocks", "stackwise_num_filters", "expansion")
    return {
        **{name: frame[name] for name in names},
        "kernel_sizes": psa.kernel_sizes,
        "groups": psa.groups,
        "reduction": psa.reduction,
        "split_input": psa.split_input,
        **({} if psa.layout is None else {"layout": psa.layout}),
    }


def _attentions(layers):
    """What `attention=` may have been: a name, or a layer."""
    if not layers:
        return [None]
    first = layers[0]
    names = [name for name in NAMED if first.name.endswith(f"_{name}")]
    config = {
        key: value
        for key, value in first.get_config().items()
        if key not in ("name", "dtype")
    }
    return [*names, type(first).from_config(config)]


def differing_layers(model, other):
    """Lists the layers that two networks do not share but for their weights.

    Args:
        model: As in `backbone_like`.
        other: The same. Classifiers are not compared.

    Returns:
        List of names, empty if both compute the same from equal weights.
    """
    layers, others = network_layers(model), network_layers(other)
    return [
        name
        for name in dict.fromkeys((*layers, *others))
        if name != CLASSIFIER
        and (
            name not in layers
            or name not in others
            or _computed(layers[name]) != _computed(others[name])
        )
    ]


def _same_features(model, backbone):
    """Whether both compute the same, which names and arguments do not say."""
    (prefix,) = find_prefixes(model)
    last = [*backbone.pyramid_level_inputs.values()][-1]
    image = stem_input(model)
    network = keras.Model(image, model.get_layer(f"{prefix}{last}").output)
    shape = [side or _SIDE for side in image.shape[1:]]
    images = np.random.default_rng(0).standard_normal((1, *shape))
    expected, found = (
        keras.ops.convert_to_numpy(
            keras.ops.cast(x(images, training=False), "float32")
        )
        for x in (network, backbone)
    )
    is_short = keras.backend.standardize_dtype(network.output.dtype) in (
        "bfloat16",
        "float16",
    )
    allowed = (0.2 if is_short else 1e-3) * expected.std()
    return np.allclose(found, expected, rtol=1e-3, atol=allowed)


def _computed(layer):
    return type(layer), {
        key: value
        for key, value in layer.get_config().items()
        if not _OF_TRAINING.fullmatch(key)
    }
