"""ResNet-50 and ResNet-101 with any attention, as in keras.applications."""

from keras_epsanet.models.named_attention import NETWORKS
from keras_epsanet.models.resnet import ResNet
from keras_epsanet.models.variants import COMMON_ARGUMENTS

_FILTERS = {"stackwise_num_filters": (64, 128, 256, 512), "expansion": 4}
# The deeper ResNeSt has a wider stem.
_WIDE_STEM = {"split": {"stem_filters": (64, 64, 128)}}
RESNET_CONFIGS = {
    "resnet50": {"stackwise_num_blocks": (3, 4, 6, 3), **_FILTERS},
    "resnet101": {"stackwise_num_blocks": (3, 4, 23, 3), **_FILTERS},
}

DOC = """Builds a {network} with any attention.

    The names are those of the paper's table 2, of its multi-scale peers and
    of later ones; `keras_epsanet.attention` has their layers:

    | `attention` | layer | where |
    | --- | --- | --- |
    | `"se"`, `"cbam"`, `"gc"`, `"triplet"`, `"eca"`, `"fca"`, `"srm"`, \
`"sa"`, `"coordinate"`, `"ema"` | `SE`, `CBAM`, `GlobalContext`, … | behind \
the last BatchNorm of every block, before the shortcut is added |
    | `"psa"`, `"pyconv"` | `PSA`, `PyConv2D` | in place of every 3×3 \
convolution |
    | `"aa"` | `AttentionAugmentedConv2D` | the same in stages 2 to 4 |
    | `"sk"`, `"split"`, `"res2net"` | `SelectiveKernel`, `SplitAttention`, \
`HierarchicalSplit` | in place of every 3×3 convolution, its BatchNorm and \
its ReLU |
    | `"simam"` | `SimAM` | behind every 3×3 convolution |
    | `"bam"` | `BAM` | behind stages 1 to 3 |
    | `"a2"` | `DoubleAttention` | behind blocks 2 and 4 of stage 2, and 2, \
4 and 6 of stage 3 |
    | `"non_local"` | `NonLocal` | behind the last block but one of stage 3 |
    | `"abn"` | `AttentionBranch` | between stages 3 and 4 |

    With `"psa"` it is EPSANet Small. `"pyconv"`, `"sk"`, `"split"` and
    `"res2net"` have the widths, stems and shortcuts of their published
    networks as well.

    Args:
        attention: `None`; one of these names; a layer, of which every place
            gets a copy; a function that makes a layer from the number of
            channels and the stage (1 to 4); or an `AttentionSlot`, for
            other places. Layers of this package stand where the table has
            them, others behind the last BatchNorm of every block.
        include_top: Whether the classifier is included.
        weights: `None` (random initialization) or the path of a file:
            Keras' `.weights.h5` or `.keras`, or a PyTorch checkpoint
            (`.pth`, `.pt`, `.pth.tar`, `.pkl`, `.safetensors`), such as the
            attention's authors have published (the docs, weights.md). A
            classifier in the file is left out if this model has none or has
            another number of classes.
{common}\
        **kwargs: Arguments of `ResNet`, such as `expansion=2`, that replace
            those of this network.

    Returns:
        A functional `keras.Model` for images `(N, H, W, 3)` (channels-first
        `(N, 3, H, W)`), normalized by `preprocess_input` unless
        `include_preprocessing`. It returns
        `(N, classes)` with the classifier, `(N, 2048)` with `pooling`,
        otherwise the feature map `(N, ceil(H / 32), ceil(W / 32), 2048)`.

    Raises:
        ValueError: If an argument is out of range, the attention does not
            fit the network, or the file of `weights` is not one of it.
        TypeError: If an argument is unknown.

    Example:

    >>> model = {function}("eca", input_shape=(32, 32, 3), classes=10)
    >>> model.output_shape
    (None, 10)

    A function makes the layers for attention of one's own:

    >>> from keras_epsanet.attention import SE
    >>> def gate(channels, stage):
    ...     return SE(reduction=4 * stage)
    ...
    >>> model = {function}(gate, input_shape=(32, 32, 3), classes=10)
    >>> model.get_layer("conv2_block1_attention").reduction
    4
    """


def ResNet50(
    attention=None,
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="resnet50",
    include_preprocessing=False,
    **kwargs,
):
    return ResNet(
        attention=attention,
        include_top=include_top,
        weights=weights,
        input_tensor=input_tensor,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        name=name,
        include_preprocessing=include_preprocessing,
        **(network_arguments("resnet50", attention) | kwargs),
    )


def ResNet101(
    attention=None,
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="resnet101",
    include_preprocessing=False,
    **kwargs,
):
    return ResNet(
        attention=attention,
        include_top=include_top,
        weights=weights,
        input_tensor=input_tensor,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        name=name,
        include_preprocessing=include_preprocessing,
        **(network_arguments("resnet101", attention) | kwargs),
    )


def network_arguments(variant, attention):
    """Returns the arguments of `ResNet` for a published network.

    Args:
        variant: `"resnet50"` or `"resnet101"`.
        attention: What `ResNet50` takes; a name brings the widths and the
            stem of its network along.
    """
    arguments = dict(RESNET_CONFIGS[variant])
    if isinstance(attention, str):
        arguments |= NETWORKS.get(attention, {})
        if variant == "resnet101":
            arguments |= _WIDE_STEM.get(attention, {})
    return arguments


RESNETS = {"resnet50": ResNet50, "resnet101": ResNet101}
for _network, _function in (("ResNet-50", ResNet50), ("ResNet-101", ResNet101)):
    _function.__doc__ = DOC.format(
        common=COMMON_ARGUMENTS, network=_network, function=_function.__name__
    )
