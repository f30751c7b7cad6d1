import collections
import functools

import pytest

import keras_epsanet
from keras_epsanet import complexity
from keras_epsanet.models.variants import VARIANTS
from keras_epsanet.paper import TABLE_2


@functools.cache
def counts_of(variant):
    return complexity(VARIANTS[variant]())


@pytest.mark.parametrize("variant", TABLE_2)
def test_table_2_of_the_paper(variant):
    counts, row = counts_of(variant), TABLE_2[variant]
    assert round(counts.parameters / 1e6, 2) == row.parameters
    assert round(counts.flops / 1e9, 2) == row.flops
    assert counts.uncounted == ()


@pytest.mark.parametrize(
    "variant, macs, flops",
    [
        ("epsanet50_small", 3_597_900_160, 3_620_128_128),
        ("epsanet101_small", 6_788_125_056, 6_820_588_928),
    ],
)
def test_exact_operations_of_small(variant, macs, flops):
    """The exact parameters are those of tests/models/test_variants.py."""
    counts = counts_of(variant)
    assert (counts.macs, counts.flops) == (macs, flops)


# Trainable parameters with the stem and the first stage frozen and GFLOPs of
# the stem and the four stages: with the other parts of the three detectors
# they add up to table 3 of the paper.
@pytest.mark.parametrize(
    "variant, parameters, stages",
    [
        (
            "epsanet50_small",
            20_512_715 - 196_115,
            "2.474 12.018 18.655 26.258 14.673",
        ),
        (
            "epsanet50_large",
            25_850_518 - 243_494,
            "2.474 15.065 24.777 34.855 19.485",
        ),
    ],
)
def test_backbones_of_table_3_of_the_paper(variant, parameters, stages):
    backbone = keras_epsanet.EPSANetBackbone.from_variant(
        variant, freeze_stages=1
    )
    counts = complexity(backbone, (800, 1280, 3), convention="table3")
    assert counts.parameters == parameters
    flops = collections.Counter()
    for layer in counts.layers:
        stage = layer.name.split("_")[0].replace("pool1", "conv1")
        flops[stage] += layer.flops
    assert " ".join(f"{n / 1e9:.3f}" for n in flops.values()) == stages
