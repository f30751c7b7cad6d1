"""Starts EPSANet-50 Small from a trained ResNet-50, and trains it further.

    python examples/warm_start.py  # or make demo-transfer

trains a ResNet-50 on the 10,000 embedded images, makes an EPSANet-50 Small
from it, and trains that, and one from scratch, with few labels. It prints the
accuracies, and draws them in runs/warm_start.png: see docs/trained_start.md.
"""

import argparse
import os

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
from matplotlib import pyplot as plt

import keras_epsanet
from keras_epsanet.data import fashion_mnist


def load(split, size):
    images, labels = zip(*fashion_mnist(split).as_numpy_iterator())
    images = keras.ops.image.resize(np.stack(images), (size, size))
    images = np.repeat(keras.ops.convert_to_numpy(images), 3, axis=-1)
    return keras_epsanet.preprocess_input(images), np.eye(10)[list(labels)]


def build(stages, scales, size):
    sizes = {"input_shape": (size, size, 3), "classes": 10}
    network = keras_epsanet.EPSANet(
        *stages, *scales, classifier_activation=None, **sizes
    )
    for layer in network.layers:  # Every block starts as its shortcut.
        if layer.name.endswith("_3_bn"):
            layer.gamma.assign(keras.ops.zeros_like(layer.gamma))
    return network


def train(network, images, labels, rate, teacher=None):
    model, steps = network, 3 * -(-len(images) // 64)
    if teacher is not None:
        divergence = keras.losses.KLDivergence()
        loss = keras.distillation.LogitsDistillation(3.0, divergence)
        model = keras.distillation.Distiller(teacher, network, loss)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps * 4 // 5, warmup_target=rate, warmup_steps=steps // 5
    )
    optimizer = keras.optimizers.SGD(schedule, 0.9, nesterov=True)
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(True))
    model.fit(images, labels, batch_size=64, epochs=3, verbose=0)
    keras_epsanet.recalibrate_batch_norm(network, images)


def accuracy(what, network, images, labels):
    logits = network.predict(images, verbose=0)
    right = float(np.mean(logits.argmax(-1) == labels.argmax(-1)))
    print(f"{what:35s} {right:.2%}", flush=True)
    return right


RESNET50 = (3, 4, 6, 3), (64, 128, 256, 512)  # Blocks and filters.
EPSANET = (3, 5, 7, 9), (1, 4, 8, 16)  # Kernels and groups.


def main(seed=0, stages=RESNET50, size=48, counts=(500, 1000, 2500)):
    keras.utils.set_random_seed(seed)
    (images, labels), test = load("train", size), load("test", size)
    order = np.random.default_rng(seed).permutation(len(images))

    # Source: with one scale an EPSANet is a ResNet.
    resnet = build(stages, ((3,), (1,)), size)
    train(resnet, images, labels, rate=0.05)
    right = accuracy("ResNet, all labels", resnet, *test)
    plt.axhline(right, color="gray", label="ResNet")

    # Start
    scratch, fitted = (build(stages, EPSANET, size) for _ in range(2))
    keras_epsanet.inherit_weights(fitted, resnet, images=images[order[:512]])

    # Fit and look
    for name, network, numbers, rate, teacher in (
        ("from scratch", scratch, counts, 0.1, None),
        ("from the ResNet", fitted, counts, 0.05, None),
        ("and taught by it", fitted, counts[:2], 0.05, resnet),
    ):
        start = network.get_weights()
        found = [accuracy(f"{name}, no labels", network, *test)]
        for some in (order[:number] for number in numbers):
            train(network, images[some], labels[some], rate, teacher)
            found += [accuracy(f"{name}, {len(some):,} labels", network, *test)]
            network.set_weights(start)
        plt.plot([0, *numbers], found, "o-", label=name)
    plt.gca().set(xlabel="labeled images", ylabel="top-1", ylim=(0, 1))
    plt.legend()
    os.makedirs("runs", exist_ok=True)
    plt.savefig("runs/warm_start.png")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
