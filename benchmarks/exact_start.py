"""Compares ways to train on from the exact start of EPSANet Large.

    python benchmarks/exact_start.py --seeds 0 1 2

trains a narrow ResNeXt for three epochs on the 10,000 embedded images, makes
narrow EPSANet Larges of it that compute the same, and trains these for three
more: at several rates, with and without warm-up, with the factor 4 in the
kernels, where the exact start has it, or in the statistics of the BatchNorm
behind, and with small random numbers in place of the zeros around the kernels.
Beside them the ResNeXt itself, trained on in the same way. It prints top-1 on
the 2,000 test images.
"""

import argparse
import os

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np

import keras_epsanet
from keras_epsanet import inherit_weights
from keras_epsanet.data import fashion_mnist
from keras_epsanet.layers import PSA, GroupedConv2D

BLOCKS, FILTERS, GROUPS = (2, 2, 2, 2), (32, 64, 128, 256), 8
LARGE = (3, 5, 5, 7), 4 * (GROUPS,)
RESNEXT = (3,), (GROUPS,)
BATCH, EPOCHS = 64, 3


def load(split, size):
    images, labels = zip(*fashion_mnist(split).as_numpy_iterator())
    images = keras.ops.image.resize(np.stack(images), (size, size))
    images = np.repeat(keras.ops.convert_to_numpy(images), 3, axis=-1)
    return keras_epsanet.preprocess_input(images), np.array(labels)


def build(scales, size):
    return keras_epsanet.EPSANet(
        BLOCKS,
        FILTERS,
        *scales,
        expansion=2,
        reduction=4,
        input_shape=(size, size, 3),
        classes=10,
        classifier_activation=None,
    )


def train(model, images, labels, rate, warm_up):
    steps = EPOCHS * -(-len(images) // BATCH)
    first = int(steps * warm_up)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if first else rate,
        steps - first,
        warmup_target=rate if first else None,
        warmup_steps=first,
    )
    model.compile(
        keras.optimizers.SGD(schedule, 0.9, nesterov=True),
        keras.losses.SparseCategoricalCrossentropy(True),
    )
    model.fit(images, labels, batch_size=BATCH, epochs=EPOCHS, verbose=0)


def accuracy(model, images, labels):
    logits = model.predict(images, verbose=0)
    return 100 * float(np.mean(logits.argmax(-1) == labels))


def move_factor(model):
    """Divides the kernels by 4 again, and the statistics behind them."""
    for layer in model.layers:
        if not isinstance(layer, PSA):
            continue
        for part in convolutions(layer):
            part.kernel.assign(part.kernel / 4)
        (node,) = layer._outbound_nodes
        norm = node.operation
        norm.moving_mean.assign(norm.moving_mean / 4)
        variance = (norm.moving_variance + norm.epsilon) / 16 - norm.epsilon
        norm.moving_variance.assign(keras.ops.maximum(variance, 0.0))


def fill_rims(model, share):
    """Puts random numbers for the zeros around the 3×3 kernels.

    Their standard deviation is `share` of the kernel's inside.
    """
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, PSA):
            for part in convolutions(layer):
                kernel = keras.ops.convert_to_numpy(part.kernel).copy()
                rim = kernel == 0
                deviation = share * kernel[~rim].std()
                kernel[rim] = random.normal(0, deviation, rim.sum())
                part.kernel.assign(kernel)


def convolutions(layer):
    return [x for x in layer._flatten_layers() if isinstance(x, GroupedConv2D)]


WAYS = {
    "kernels times 4": lambda model: None,
    "statistics": move_factor,
    "rims of 0.01": lambda model: fill_rims(model, 0.01),
    "rims of 0.1": lambda model: fill_rims(model, 0.1),
}
RATES = (0.1, 0.05, 0.02, 0.01, 0.005)


def measure(seed, size, images):
    """Returns top-1 by the way, the rate and the share of warm-up."""
    keras.utils.set_random_seed(seed)
    data = [x[:images] for x in load("train", size)]
    test = load("test", size)
    source = build(RESNEXT, size)
    train(source, *data, 0.1, 0.2)
    start = source.get_weights()
    found = {}

    def note(key, model):
        found[key] = accuracy(model, *test)
        print(seed, *key, f"{found[key]:.2f}", flush=True)

    note(("source", 0, 0), source)
    target = build(LARGE, size)
    inherit_weights(target, source)
    inherited = target.get_weights()
    note(("start", 0, 0), target)
    runs = [("kernels times 4", rate, w) for rate in RATES for w in (0, 0.2)]
    runs += [
        (way, rate, 0.2) for way in list(WAYS)[1:] for rate in (0.02, 0.05)
    ]
    for way, rate, warm_up in runs:
        keras.utils.set_random_seed(seed)
        target.set_weights(inherited)
        WAYS[way](target)
        if rate == RATES[0] or way != "kernels times 4":
            note((f"{way}, before", rate, warm_up), target)
        train(target, *data, rate, warm_up)
        note((way, rate, warm_up), target)
    for rate in RATES[1:4]:
        source.set_weights(start)
        train(source, *data, rate, 0.2)
        note(("ResNeXt", rate, 0.2), source)
    return found


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--images", type=int, default=10_000)
    args = parser.parse_args()
    seeds = [measure(seed, args.size, args.images) for seed in args.seeds]
    print("way, rate, warm-up: mean ± deviation of top-1")
    for key in seeds[0]:
        values = np.array([found[key] for found in seeds])
        print(*key, f"{values.mean():.2f} ± {values.std():.2f}")


if __name__ == "__main__":
    main()
