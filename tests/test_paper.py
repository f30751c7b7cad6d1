import collections
import functools
import pathlib
import re

import pytest

import keras_epsanet
from keras_epsanet import complexity
from keras_epsanet.models.variants import VARIANTS
from keras_epsanet.paper import (
    TABLE_2,
    TABLE_2_COMPARED,
    TABLE_3,
    TABLE_3_COMPARED,
    TABLE_4,
)

NUMBERS = pathlib.Path(__file__).parents[1] / "docs/numbers.md"


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


def name_of(*parts):
    return " ".join(part for part in parts if part)


def test_sizes_beside_ours_are_those_of_the_docs():
    """Each figure is written down twice: a slip in one of them shows."""
    row = r"(\w+( \w+)*) +[\d.]+ +([\d.]+) +[\d.]+ +([\d.]+)  \D"
    found = {
        match[1]: (float(match[3]), float(match[4]))
        for match in re.finditer(f"^{row}", NUMBERS.read_text(), re.MULTILINE)
    }
    compared = {**TABLE_2_COMPARED}
    for (detector, attention), size in TABLE_3_COMPARED.items():
        compared[name_of(detector, "resnet50"), attention] = size
    rows = {**TABLE_2, **{name_of(*key): x for key, x in compared.items()}}
    for detector, networks in TABLE_3.items():
        for network, size in networks.items():
            rows[name_of(detector, network)] = size
    sizes = {name: (x.parameters, x.flops) for name, x in rows.items()}
    assert sizes == found


def test_accuracies_and_precisions_are_those_of_the_docs():
    found = {}
    for line in NUMBERS.read_text().splitlines():
        title, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        numbers = [x for x in cells if re.fullmatch(r"\d+\.\d+", x)]
        found[title, len(cells)] = list(map(float, numbers))
    for name, row in TABLE_2.items():
        assert found[f"`{name}`", 2] == [row.top1, row.top5]
    titles = {
        "retinanet": "RetinaNet",
        "faster_rcnn": "Faster R-CNN",
        "mask_rcnn": "Mask R-CNN",
    }
    for detector, networks in TABLE_3.items():
        for network, row in networks.items():
            size = network.removeprefix("epsanet50_").title()
            wanted = [row.ap, row.ap50, row.ap75]
            if detector == "mask_rcnn":
                wanted += TABLE_4[network]
            assert found[f"{titles[detector]}, EPSANet-50 {size}", 6] == wanted
