"""Prints the sizes of the networks beside those that the paper reports.

    python benchmarks/complexity.py

Output:

    Table 2, 224×224   parameters in M    FLOPs in G
                          ours   paper   ours  paper
    epsanet50_small      22.56   22.56   3.62   3.62
    epsanet50_large      27.90   27.90   4.72   4.72
    epsanet101_small     38.90   38.90   6.82   6.82
    epsanet101_large     49.59   49.59   8.97   8.97
    resnet50             25.58       –   3.88      –

    Backbones of table 3, 1280×800, stem and first stage frozen
                     parameters in M  GFLOPs of the stem and the stages
    epsanet50_small            20.32   2.474  12.018  18.655  26.258  14.673
    epsanet50_large            25.61   2.474  15.065  24.777  34.855  19.485
"""

import collections

import keras

import keras_epsanet
from keras_epsanet import complexity
from keras_epsanet.models.variants import VARIANTS
from keras_epsanet.paper import TABLE_2

STAGES = ("conv1", "conv2", "conv3", "conv4", "conv5")


def print_table_2():
    print("Table 2, 224×224   parameters in M    FLOPs in G")
    print("                      ours   paper   ours  paper")
    for name, row in TABLE_2.items():
        print_sizes(VARIANTS[name](), f"{row.parameters:.2f}", row.flops)
    # Not the ResNet-50 of the paper: its convolutions have biases, and the
    # strides are in the 1×1 convolutions.
    print_sizes(keras.applications.ResNet50(weights=None), "–", "–")


def print_sizes(model, paper_parameters, paper_flops):
    counts = complexity(model)
    print(
        f"{model.name:18} {counts.parameters / 1e6:7.2f} {paper_parameters:>7}"
        f" {counts.flops / 1e9:6.2f} {paper_flops:>6}"
    )


def print_table_3():
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
