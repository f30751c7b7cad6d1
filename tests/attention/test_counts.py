"""Parameters and operations in ResNet-50, against the published tables.

A is the multiply-adds of convolutions and dense layers; C has biases, two
for each normalized number, ReLUs and the inputs of pooling too. Products of
activations are part of neither.
"""

import collections
import math

import pytest

from keras_epsanet.attention import (
    BAM,
    CBAM,
    ECA,
    EMA,
    FCA,
    SE,
    SRM,
    AttentionAugmentedConv2D,
    AttentionBranch,
    ChannelAttention,
    CoordinateAttention,
    DoubleAttention,
    GlobalContext,
    GSoP,
    HierarchicalSplit,
    NonLocal,
    PositionAttention,
    PyConv2D,
    SelectiveKernel,
    ShuffleAttention,
    SimAM,
    SplitAttention,
    TripletAttention,
)

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
FACTORS = {"biases": 1, "normalized": 2, "relus": 1, "pooled": 1}
GIGA = 1e9


def stages(depth):
    """Number of blocks, output channels and output size of each stage."""
    return zip(BLOCKS[depth], (256, 512, 1024, 2048), (56, 28, 14, 7))


def resnet(depth):
    """Parameters and operations of a ResNet at 224 pixels, in its blocks."""
    counts = collections.Counter()

    def conv(kernel, inputs, filters, size, relu=True):
        elements = size * size * filters
        counts["parameters"] += kernel * kernel * inputs * filters + 2 * filters
        counts["macs"] += kernel * kernel * inputs * elements
        counts["normalized"] += elements
        counts["relus"] += elements if relu else 0

    conv(7, 3, 64, 112)
    counts["pooled"] += 112 * 112 * 64
    inputs = 64
    for blocks, channels, size in stages(depth):
        for block in range(blocks):
            width, first = channels // 4, block == 0
            # The 3×3 convolution has the stride.
            conv(1, inputs, width, 2 * size if first and size < 56 else size)
            conv(3, width, width, size)
            conv(1, width, channels, size)  # Its ReLU follows the addition.
            if first:
                conv(1, inputs, channels, size, relu=False)
            inputs = channels
    counts["pooled"] += 7 * 7 * 2048
    counts["macs"] += 2048 * 1000
    counts["biases"] += 1000
    counts["parameters"] += 2048 * 1000 + 1000
    return counts


def total(counts):
    return counts["macs"] + sum(counts[k] * f for k, f in FACTORS.items())


def count_layer(layer, shape):
    """Counts of a layer for one image, those of an equal one a second time."""
    config = {**layer.get_config(), "name": type(layer).__name__}
    key = (str(config), shape)
    if key not in _COUNTS:
        layer.build((None, *shape[1:]))
        counts = collections.Counter(layer.count_operations(shape))
        for weight in layer.trainable_weights:
            counts["parameters"] += math.prod(weight.shape)
        _COUNTS[key] = counts
    return _COUNTS[key]


_COUNTS = {}


def in_every_block(make, depth=50):
    """Adds to a ResNet's counts a layer behind the last norm of each block."""
    counts = resnet(depth)
    for stage, (blocks, channels, size) in enumerate(stages(depth)):
        one = count_layer(make(stage), (1, size, size, channels))
        counts.update({kind: blocks * n for kind, n in one.items()})
    return counts


@pytest.mark.parametrize(
    "depth, parameters, a, c",
    [(50, 25_557_032, 4.0892, 4.1219), (101, 44_549_160, 7.8014, 7.8495)],
)
def test_the_frame(depth, parameters, a, c):
    counts = resnet(depth)
    assert counts["parameters"] == parameters
    assert round(counts["macs"] / GIGA, 4) == a
    assert round(total(counts) / GIGA, 4) == c


def eca(*sizes):
    return lambda stage: ECA(sizes[stage])


def fca(stage):
    return FCA((56, 28, 14, 7)[stage])


@pytest.mark.parametrize(
    "depth, make, parameters, a, c",
    [
        (50, lambda _: SE(), 28_071_976, 4.0917, 4.1300),
        (101, lambda _: SE(), 49_292_328, 7.8061, 7.8632),
        (50, lambda _: SE(use_bias=True), 28_088_024, 4.0917, None),
        (101, lambda _: SE(use_bias=True), 49_326_872, 7.8061, None),
        (50, eca(3, 5, 5, 7), 25_557_112, 4.0893, 4.1275),
        (101, eca(3, 3, 5, 7), 44_549_317, 7.8016, 7.8586),
        (50, lambda _: GlobalContext(), 28_105_032, 4.0972, 4.1300),
        (101, lambda _: GlobalContext(), 49_363_481, 7.8151, 7.8632),
        (50, lambda _: CBAM(), 28_089_624, 4.0956, 4.1394),
        (101, lambda _: CBAM(), 49_330_172, 7.8126, 7.8786),
        (50, lambda _: CBAM(use_bias=False), 28_073_576, 4.0956, None),
        (101, lambda _: CBAM(use_bias=False), 49_295_628, 7.8126, None),
        (50, lambda _: TripletAttention(), 25_561_832, 4.1355, 4.1692),
        (101, lambda _: TripletAttention(), 44_559_060, 7.8958, 7.9458),
        (50, fca, 28_071_976, 4.0917, 4.1244),
        (101, fca, 49_292_328, 7.8061, 7.8542),
        (50, lambda _: SRM(), 25_617_448, 4.0892, 4.1220),
        (101, lambda _: SRM(), 44_679_208, 7.8015, 7.8496),
        (50, lambda _: ShuffleAttention(), 25_557_740, 4.0892, 4.1302),
        (101, lambda _: ShuffleAttention(), 44_550_684, 7.8014, 7.8629),
    ],
)
def test_in_every_block(depth, make, parameters, a, c):
    counts = in_every_block(make, depth)
    assert counts["parameters"] == parameters
    assert round(counts["macs"] / GIGA, 4) == a
    assert c is None or round(total(counts) / GIGA, 4) == c


def test_products_of_frequencies_and_activations():
    products = in_every_block(fca)["products"]
    assert round(products / GIGA, 4) == 0.0055


@pytest.mark.parametrize(
    "depth, parameters, a, c",
    [(50, 25_915_099, 4.1713, 4.2065), (101, 44_907_227, 7.8836, 7.9341)],
)
def test_bam_behind_three_stages(depth, parameters, a, c):
    counts = resnet(depth)
    for _, channels, size in [*stages(depth)][:3]:
        counts.update(count_layer(BAM(), (1, size, size, channels)))
    assert counts["parameters"] == parameters
    assert round(counts["macs"] / GIGA, 4) == a
    assert round(total(counts) / GIGA, 4) == c


def test_double_attention_behind_five_blocks():
    counts = resnet(50)
    for blocks, channels, size in ((2, 512, 28), (3, 1024, 14)):
        one = count_layer(DoubleAttention(), (1, size, size, channels))
        counts.update({kind: blocks * n for kind, n in one.items()})
    assert counts["parameters"] == 32_907_304
    assert round(counts["macs"] / GIGA, 4) == 6.1444
    assert round(total(counts) / GIGA, 4) == 6.1806
    assert round(counts["products"] / GIGA, 3) == 0.514


@pytest.mark.parametrize(
    "depth, parameters, a, c",
    [(50, 27_658_792, 4.5002, 4.5339), (101, 46_650_920, 8.2124, 8.2614)],
)
def test_one_non_local_block(depth, parameters, a, c):
    counts = resnet(depth)
    counts.update(count_layer(NonLocal(), (1, 14, 14, 1024)))
    assert counts["parameters"] == parameters
    assert round(counts["macs"] / GIGA, 4) == a
    assert round(total(counts) / GIGA, 4) == c
    assert round(counts["products"] / GIGA, 3) == 0.039


def test_five_non_local_blocks():
    counts = resnet(50)
    for blocks, channels, size in ((2, 512, 28), (3, 1024, 14)):
        one = count_layer(NonLocal(pool_size=2), (1, size, size, channels))
        counts.update({kind: blocks * n for kind, n in one.items()})
    assert counts["parameters"] == 32_915_496


@pytest.mark.parametrize(
    "depth, parameters, a, c",
    [(50, 25_813_872, 4.2269, 4.2596), (101, 45_391_208, 8.0502, 8.0983)],
)
def test_augmented_convolutions_in_three_stages(depth, parameters, a, c):
    counts = resnet(depth)
    for stage, (blocks, channels, size) in enumerate(stages(depth)):
        if stage == 0:
            continue
        width, values = channels // 4, (8, 24, 48)[stage - 1]
        for block in range(blocks):
            strides = 2 if block == 0 else 1
            layer = AttentionAugmentedConv2D(
                width, 160, values, strides=strides, table_size=(size, size)
            )
            shape = (1, strides * size, strides * size, width)
            counts.update(count_layer(layer, shape))
        replaced = blocks * 9 * width * width
        counts["parameters"] -= replaced
        counts["macs"] -= replaced * size * size
    assert counts["parameters"] == parameters
    assert round(counts["macs"] / GIGA, 4) == a
    assert round(total(counts) / GIGA, 4) == c
    assert depth == 101 or round(counts["products"] / GIGA, 3) == 0.523


@pytest.mark.parametrize(
    "layer, expected",
    [
        (
            CoordinateAttention(),
            {
                "parameters": 3 * 512 * 16 + 3 * 16 + 2 * 512,
                "macs": 2 * (9 + 7) * 512 * 16,
                "biases": (9 + 7) * (16 + 512),
                "normalized": (9 + 7) * 16,
                "relus": (9 + 7) * 16,
                "pooled": 2 * 9 * 7 * 512,
            },
        ),
        (
            EMA(),
            {
                "parameters": 10 * 16**2 + 4 * 16,
                "macs": 9 * 9 * 7 * 512 * 16 + (9 + 7) * 512 * 16,
                "biases": (9 * 7 + 9 + 7) * 512,
                "normalized": 9 * 7 * 512,
                "pooled": 4 * 9 * 7 * 512,
                "products": 2 * 9 * 7 * 512,
            },
        ),
        (SimAM(), {}),
        (
            GSoP(32, strides=2),
            {
                "parameters": 5 * 512 * 32 + 4 * 32**2 + 512 + 9 * 32,
                "macs": 5 * 4 * 512 * 32 + 4 * 32**2 + 4 * 32 * 512,
                "biases": 5 * 4 * 32 + 4 * 32 + 512,
                "normalized": 5 * 4 * 32 + 32**2,
                "relus": 9 * 7 * 512 + 5 * 4 * 32,
                "products": 5 * 4 * 32**2,
            },
        ),
        (
            PositionAttention(),
            {
                "parameters": 512 * 640 + 640 + 1,
                "macs": 9 * 7 * 512 * 640,
                "biases": 9 * 7 * 640,
                "products": (9 * 7) ** 2 * 576,
            },
        ),
        (
            ChannelAttention(),
            {"parameters": 1, "products": 2 * 9 * 7 * 512**2},
        ),
    ],
)
def test_operations_by_hand(layer, expected):
    assert count_layer(layer, (1, 9, 7, 512)) == expected


# Networks of their own


def network(make, widths, depth=50, stem=(9408 + 128, 64)):
    """Parameters of a ResNet with other layers for its 3×3 convolutions.

    `make(stage, block, channels)` makes the layer for a number of channels;
    the stem is its number of parameters and of output channels.
    """
    parameters, inputs = stem
    parameters += 2048 * 1000 + 1000
    for stage, (blocks, channels, _) in enumerate(stages(depth)):
        width = widths[stage]
        for block in range(blocks):
            layer = make(stage, block, width)
            one = count_layer(layer, (1, 8, 8, width))
            parameters += inputs * width + 2 * width + one["parameters"]
            parameters += width * channels + 2 * channels
            if block == 0:
                parameters += inputs * channels + 2 * channels
            inputs = channels
    return parameters


PYRAMIDS = (
    ((3, 5, 7, 9), (1, 4, 8, 16), (4, 4, 4, 4)),
    ((3, 5, 7), (1, 4, 8), (4, 4, 2)),
    ((3, 5), (1, 4), (2, 2)),
    ((3,), (1,), (1,)),
)


def test_pyramidal_networks():
    def make(stage, block, width):
        sizes, groups, shares = PYRAMIDS[stage]
        return PyConv2D([width // n for n in shares], sizes, groups)

    widths = (64, 128, 256, 512)
    norms = sum(2 * w * n for w, n in zip(widths, BLOCKS[50]))
    assert network(make, widths) + norms == 24_847_720
    norms = sum(2 * w * n for w, n in zip(widths, BLOCKS[101]))
    assert network(make, widths, depth=101) + norms == 42_307_944


def test_networks_of_selective_kernels():
    def make(stage, block, width):
        return SelectiveKernel(width)

    assert network(make, (128, 256, 512, 1024)) == 27_479_784


def test_networks_of_split_attention():
    def make(stage, block, width):
        return SplitAttention(width)

    # Three 3×3 convolutions in front, the last one of twice the filters.
    for depth, w, expected in ((50, 32, 27_483_240), (101, 64, 48_275_016)):
        stem = (27 * w + 9 * w * w + 9 * w * 2 * w + 2 * (w + w + 2 * w), 2 * w)
        parameters = network(make, (64, 128, 256, 512), depth, stem)
        assert parameters == expected


def test_networks_of_slices():
    def make(stage, block, width):
        return HierarchicalSplit(4, chained=block > 0)

    for depth, expected in ((50, 25_699_120), (101, 45_206_688)):
        assert network(make, (104, 208, 416, 832), depth=depth) == expected


def test_an_attention_branch():
    counts = resnet(50)
    counts.update(count_layer(AttentionBranch(1000), (1, 14, 14, 2048)))
    assert counts["parameters"] - resnet(50)["parameters"] == 3_063_098
    # And a copy of the fourth stage, without strides.
    inputs = 1024
    for _ in range(3):
        kernels = [inputs * 512, 9 * 512 * 512, 512 * 2048]
        norms = [512, 512, 2048]
        if inputs == 1024:
            kernels.append(inputs * 2048)
            norms.append(2048)
        counts["parameters"] += sum(kernels) + 2 * sum(norms)
        counts["macs"] += sum(kernels) * 14 * 14
        counts["normalized"] += sum(norms) * 14 * 14
        counts["relus"] += (512 + 512 + 2048) * 14 * 14
        inputs = 2048
    assert counts["parameters"] == 43_584_866
    assert round(counts["macs"] / GIGA, 4) == 7.6170
    assert round(total(counts) / GIGA, 4) == 7.6576
