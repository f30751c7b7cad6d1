"""Prints what every attention costs in a block of a ResNet.

    python benchmarks/attention.py
    python benchmarks/attention.py --attentions se eca --batch-size 1
    python benchmarks/attention.py --against compositions
    python benchmarks/attention.py --against network --attentions se eca simam

The block is the second of ResNet-50's first stage: 256 channels, 56×56 pixels.
Parameters and multiply-adds (those of activations with activations among
them) are the difference to the block without attention, times the ratio, of
`predict_on_batch` and `train_on_batch`, in turns in one process: the median.
BAM, A² and non-local stand in other places of a network; here they stand behind
this block. ABN is no part of a block. KERAS_BACKEND chooses the backend.

The third command times the layer alone, on as many channels and pixels, against
the same attention written of Keras' own layers, with equally many weights, in
attention_compositions.py and convolution_compositions.py. Below 1 the layer is
faster. The names are those of `LAYERS`, ABN and those without a name included.

The fourth times the inference of ResNet-50 at 224×224 with an attention against
that without, both as they are and both fused.
"""

import argparse
import os
import time

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np

import keras_epsanet
from keras_epsanet import attention as layers
from keras_epsanet.classification.comparison.costs import device, ratios_of
from keras_epsanet.layers import PSA
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
    "ema": layers.EMA(),
    "gsop": layers.GSoP(),
    "position": layers.PositionAttention(),
    "channel": layers.ChannelAttention(),
    "psa": PSA(CHANNELS),
    "pyconv": layers.PyConv2D(CHANNELS),
    "sk": layers.SelectiveKernel(CHANNELS),
    "split": layers.SplitAttention(CHANNELS),
    "res2net": layers.HierarchicalSplit(),
    "hs": layers.HierarchicalSplit(merge="concat"),
    "aa": layers.AttentionAugmentedConv2D(CHANNELS, 160, 24),
    "abn": layers.AttentionBranch(1000),
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
    model.compile(keras.optimizers.SGD(1e-3), ["mse"] * len(model.outputs))
    random = np.random.default_rng(0)
    x, *y = (
        random.normal(size=(batch_size, *tensor.shape[1:])).astype("float32")
        for tensor in (model.input, *model.outputs)
    )
    return (
        lambda: model.predict_on_batch(x),
        lambda: model.train_on_batch(x, y),
    )


def build_layer(function, size):
    image = keras.Input((size, size, CHANNELS))
    return keras.Model(image, function(image))


def find_compositions():
    import attention_compositions
    import convolution_compositions

    return {
        **attention_compositions.COMPOSITIONS,
        **convolution_compositions.COMPOSITIONS,
    }


def median_ratios(pair, args):
    """Ratios of the times of the functions of two networks."""
    clock = time.process_time if args.processor_time else time.perf_counter
    return [
        np.median(ratios_of(runs, args.repeats, clock)[0])
        for runs in zip(*pair)
    ]


def compare_with_compositions(args):
    compositions = find_compositions()
    print("attention      weights: layer  composition  inference  training")
    for name in args.attentions:
        pair = [
            build_layer(function, args.image_size)
            for function in (LAYERS[name], compositions[name])
        ]
        runs = [make_runs(model, args.batch_size) for model in pair]
        weights = [model.count_params() for model in pair]
        print(f"{name:13} {weights[0]:15,} {weights[1]:12,}", end=" ")
        print("{:10.2f} {:9.2f}".format(*median_ratios(runs, args)), flush=True)


def compare_networks(args):
    def make(name):
        model = keras_epsanet.ResNet50(
            name, input_shape=(args.image_size, args.image_size, 3)
        )
        # Inference alone, of the network and of what is fused from it.
        return [
            make_runs(x, args.batch_size)[0]
            for x in (model, keras_epsanet.fuse(model))
        ]

    plain = make(None)
    print("attention     inference  fused")
    for name in args.attentions:
        ratios = median_ratios((make(name), plain), args)
        print(f"{name:13} {ratios[0]:9.2f} {ratios[1]:6.2f}", flush=True)


def count(model):
    counts = keras_epsanet.complexity(model)
    return np.array([counts.parameters, counts.macs + counts.products])


def compare_blocks(args):
    plain = build_block(None, args.image_size)
    runs = make_runs(plain, args.batch_size)
    print("attention      parameters    multiply-adds  inference  training")
    for name in args.attentions:
        block = build_block(name, args.image_size)
        parameters, macs = count(block) - count(plain)
        ratios = median_ratios((make_runs(block, args.batch_size), runs), args)
        print(f"{name:13} {parameters:+11,} {macs:+16,}", end=" ")
        print("{:10.2f} {:9.2f}".format(*ratios), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--attentions", nargs="+", metavar="NAME", help="default: all"
    )
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="of all threads, which other work changes less",
    )
    compare = {
        "block": compare_blocks,
        "compositions": compare_with_compositions,
        "network": compare_networks,
    }
    parser.add_argument("--against", choices=compare, default="block")
    args = parser.parse_args()
    if args.image_size is None:
        args.image_size = 224 if args.against == "network" else 56
    names = list(LAYERS) if args.against == "compositions" else NAMES
    args.attentions = args.attentions or names
    if unknown := set(args.attentions) - set(names):
        parser.error(
            f"--attentions must be of {', '.join(names)}. "
            f"Received: {', '.join(sorted(unknown))}"
        )
    print(
        f"{keras.backend.backend()}, {device()}, batch {args.batch_size}, "
        f"{args.image_size}×{args.image_size}"
    )
    compare[args.against](args)


if __name__ == "__main__":
    main()
