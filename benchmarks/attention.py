"""Prints what every attention costs in a block of a ResNet.

    python benchmarks/attention.py
    python benchmarks/attention.py --attentions se eca --batch-size 1
    python benchmarks/attention.py --against compositions

The block is the second of ResNet-50's first stage: 256 channels, 56×56 pixels.
Parameters and multiply-adds (those of activations with activations among
them) are the difference to the block without attention, times the ratio, of
`predict_on_batch` and `train_on_batch`, in turns in one process: the median.
BAM, A² and non-local stand in other places of a network; here they stand behind
this block. ABN is no part of a block. KERAS_BACKEND chooses the backend.

The last command times the layer alone, on as many channels and pixels, against
the same attention written of Keras' own layers in attention_compositions.py,
where there is one with equally many weights. Below 1 the layer is faster.
"""

import argparse
import os

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np

import keras_epsanet
from keras_epsanet import attention as layers
from keras_epsanet.classification.comparison.costs import device, ratios_of
from keras_epsanet.models.blocks import apply_bottleneck
from keras_epsanet.models.named_attention import (
    NAMED,
    NETWORKS,
    resolve_attention,
)
from keras_epsanet.models.parts import Parts

BLOCKS = (3, 4, 6, 3)  # Of ResNet-50.
CHANNELS = 256
NAMES = [name for name in NAMED if name != "abn"]
LAYERS = {
    "se": layers.SE(use_bias=True),
    "eca": layers.ECA(),
    "cbam": layers.CBAM(),
    "bam": layers.BAM(),
    "triplet": layers.TripletAttention(),
    "srm": layers.SRM(),
    "gc": layers.GlobalContext(),
    "fca": layers.FCA(56),
    "sa": layers.ShuffleAttention(),
    "simam": layers.SimAM(),
    "coordinate": layers.CoordinateAttention(),
    "non_local": layers.NonLocal(),
    "a2": layers.DoubleAttention(),
}


def build_block(name, size):
    attention = resolve_attention(name)
    if attention is not None:
        attention.places = None
    filters = NETWORKS.get(name, {}).get("stackwise_num_filters", (64,))[0]
    parts = Parts(
        prefix="",
        dtype=None,
        data_format="channels_last",
        synchronized=False,
        norm_eval=False,
        downsampling="convolution",
        attention=attention,
        num_blocks=BLOCKS,
        classes=1000,
    )
    image = keras.Input((size, size, CHANNELS))
    block = apply_bottleneck(image, parts, 1, 2, filters, CHANNELS, 1, "block")
    return keras.Model(image, block)


def make_runs(model, batch_size):
    """Functions that predict with a block and train it."""
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    random = np.random.default_rng(0)
    shape = (batch_size, *model.input_shape[1:])
    x, y = (random.normal(size=shape).astype("float32") for _ in range(2))
    return (
        lambda: model.predict_on_batch(x),
        lambda: model.train_on_batch(x, y),
    )


def build_layer(function, size):
    image = keras.Input((size, size, CHANNELS))
    return keras.Model(image, function(image))


def compare_with_compositions(args):
    from attention_compositions import COMPOSITIONS

    print("attention      weights: layer  composition  inference  training")
    for name in args.attentions:
        if name not in COMPOSITIONS:
            continue
        pair = [
            build_layer(function, args.image_size)
            for function in (LAYERS[name], COMPOSITIONS[name])
        ]
        runs = [make_runs(model, args.batch_size) for model in pair]
        ratios = [
            np.median(ratios_of(run, args.repeats)[0]) for run in zip(*runs)
        ]
        weights = [model.count_params() for model in pair]
        print(
            f"{name:13} {weights[0]:15,} {weights[1]:12,} {ratios[0]:10.2f} "
            f"{ratios[1]:9.2f}",
            flush=True,
        )


def count(model):
    counts = keras_epsanet.complexity(model)
    return np.array([counts.parameters, counts.macs + counts.products])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--attentions", nargs="+", choices=NAMES, default=NAMES, metavar="NAME"
    )
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--image-size", type=int, default=56)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument(
        "--against", choices=("block", "compositions"), default="block"
    )
    args = parser.parse_args()
    print(
        f"{keras.backend.backend()}, {device()}, batch {args.batch_size}, "
        f"{args.image_size}×{args.image_size}, {CHANNELS} channels"
    )
    if args.against == "compositions":
        compare_with_compositions(args)
        return

    plain = build_block(None, args.image_size)
    runs = make_runs(plain, args.batch_size)
    print("attention      parameters    multiply-adds  inference  training")
    for name in args.attentions:
        block = build_block(name, args.image_size)
        parameters, macs = count(block) - count(plain)
        ratios = [
            np.median(ratios_of(pair, args.repeats)[0])
            for pair in zip(make_runs(block, args.batch_size), runs)
        ]
        print(
            f"{name:13} {parameters:+11,} {macs:+16,} {ratios[0]:10.2f} "
            f"{ratios[1]:9.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
