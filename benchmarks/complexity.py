"""Prints the sizes of the networks beside those that the paper reports.

    python benchmarks/complexity.py

Output: see docs/numbers.md.
"""

import collections

import keras_epsanet
from keras_epsanet import complexity, detection
from keras_epsanet.attention import SE, GlobalContext
from keras_epsanet.models.resnet_variants import RESNETS
from keras_epsanet.models.variants import VARIANTS
from keras_epsanet.paper import (
    TABLE_2,
    TABLE_2_COMPARED,
    TABLE_3,
    TABLE_3_COMPARED,
)

STAGES = ("conv1", "conv2", "conv3", "conv4", "conv5")
DETECTORS = {
    "retinanet": detection.RetinaNet,
    "faster_rcnn": detection.FasterRCNN,
    "mask_rcnn": detection.MaskRCNN,
}
# A row counts as most do but for these: see docs/numbers.md.
CONVENTIONS = {
    ("resnet50", "fca"): "table3 and products",
    ("resnet101", "aa"): "multiply-adds",
}
# Whose counts in detectors are those of another configuration.
AS_COUNTED = {
    ("retinanet", "se"): SE(use_bias=True),
    ("mask_rcnn", "gc"): keras_epsanet.AttentionSlot(
        GlobalContext(), places=[2, 3, 4], name="gc"
    ),
}
HEADER = f"{'':31}ours    paper     ours   paper  counted as"


def print_table_2():
    print("Table 2, 224×224      parameters in M    FLOPs in G")
    print(HEADER)
    for name, row in TABLE_2.items():
        print_row(name, VARIANTS[name](), row, "table2")
    for (depth, attention), row in TABLE_2_COMPARED.items():
        print_row(
            " ".join(filter(None, (depth, attention))),
            RESNETS[depth](attention),
            row,
            CONVENTIONS.get((depth, attention), "table3"),
        )


def print_table_3():
    print("Table 3, 1280×800     stem and first stage frozen")
    print(HEADER)
    for name, rows in TABLE_3.items():
        for variant, row in rows.items():
            backbone = keras_epsanet.EPSANetBackbone.from_variant(
                variant, freeze_stages=1
            )
            detector = DETECTORS[name](backbone, num_classes=80)
            size = (800, 1280, 3)
            print_row(f"{name} {variant}", detector, row, "table3", size)
    for (name, attention), row in TABLE_3_COMPARED.items():
        backbone = keras_epsanet.ResNetBackbone.from_variant(
            "resnet50",
            AS_COUNTED.get((name, attention), attention),
            image_shape=(800, 1280, 3),
            freeze_stages=1,
        )
        detector = DETECTORS[name](backbone, num_classes=80)
        title = " ".join(filter(None, (name, "resnet50", attention)))
        print_row(title, detector, row, "table3", (800, 1280, 3))


def print_row(title, model, row, convention, input_shape=None):
    is_table = convention in ("table2", "table3")
    counts = complexity(
        model, input_shape, convention if is_table else "table3"
    )
    flops = counts.macs if convention == "multiply-adds" else counts.flops
    if convention.endswith("products"):
        flops += counts.products
    print(
        f"{title:28} {counts.parameters / 1e6:6.2f} {row.parameters:8.2f}"
        f" {flops / 1e9:8.2f} {row.flops:7.2f}  {convention}",
        flush=True,
    )


def print_stages():
    print("Backbones of table 3, 1280×800, stem and first stage frozen")
    print("                 parameters in M  GFLOPs of the stem and the stages")
    for variant in ("epsanet50_small", "epsanet50_large"):
        backbone = keras_epsanet.EPSANetBackbone.from_variant(
            variant, freeze_stages=1
        )
        counts = complexity(backbone, (800, 1280, 3), convention="table3")
        flops = collections.Counter()
        for layer in counts.layers:
            stage = layer.name.split("_")[0].replace("pool1", "conv1")
            flops[stage] += layer.flops
        stages = "  ".join(f"{flops[stage] / 1e9:6.3f}" for stage in STAGES)
        print(f"{variant:18} {counts.parameters / 1e6:13.2f}  {stages}")


if __name__ == "__main__":
    print_table_2()
    print()
    print_table_3()
    print()
    print_stages()
