"""Prints what every attention costs in a block of a ResNet.

    python benchmarks/attention.py
    python benchmarks/attention.py --attentions se eca --batch-size 1

The block is the second of ResNet-50's first stage: 256 channels, 56×56 pixels.
Parameters and multiply-adds (those of activations with activations among
them) are the difference to the block without attention, times the ratio, of
`predict_on_batch` and `train_on_batch`, in turns in one process: the median.
BAM, A² and non-local stand in other places of a network; here they stand behind
this block. ABN is no part of a block. KERAS_BACKEND chooses the backend.
"""

import argparse
import os

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np

import keras_epsanet
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
    args = parser.parse_args()

    plain = build_block(None, args.image_size)
    runs = make_runs(plain, args.batch_size)
    print(
        f"{keras.backend.backend()}, {device()}, batch {args.batch_size}, "
        f"{args.image_size}×{args.image_size}, {CHANNELS} channels"
    )
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
