"""Starts EPSANet-50 Small from a trained ResNet-50, and trains it further.

    python examples/warm_start.py  # [SEED]

trains a ResNet-50 on the 10,000 embedded images of Fashion-MNIST at 48×48
pixels, makes an EPSANet-50 Small from it with 512 of the images without
labels, and trains that on 5,000 with labels. It prints the top-1 accuracy on
the 2,000 test images after each step; docs/trained_start.md has the figures of
three seeds, of the same steps.
"""

import os
import sys

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import tensorflow as tf

import keras_epsanet
from keras_epsanet.data import fashion_mnist


def load(split, size):
    """Images `(N, size, size, 3)`, normalized, and classes."""
    images, labels = zip(*fashion_mnist(split).as_numpy_iterator())
    images = np.repeat(tf.image.resize(np.stack(images), (size, size)), 3, -1)
    return keras_epsanet.preprocess_input(images), np.array(labels)


def build(stages, scales, size):
    sizes = {"input_shape": (size, size, 3), "classes": 10}
    return keras_epsanet.EPSANet(
        *stages, *scales, classifier_activation=None, **sizes
    )


def train(network, images, labels, epochs, rate, warm_up):
    steps = epochs * (len(images) // 64)
    first = max(1, int(warm_up * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps - first, warmup_target=rate, warmup_steps=first
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(
        keras.optimizers.SGD(schedule, 0.9, nesterov=True, weight_decay=5e-5),
        loss,
    )
    batches = (
        tf.data.Dataset.from_tensor_slices((images, labels))
        .shuffle(len(images))
        .map(lambda x, y: (tf.image.random_flip_left_right(x), y))
        .batch(64, drop_remainder=True)
    )
    network.fit(batches, epochs=epochs, verbose=2)


def report(what, network, images, labels):
    logits = network.predict(images, batch_size=100, verbose=0)
    right = float(np.mean(logits.argmax(-1) == labels))
    print(f"{what:35s} {right:.2%}")
    return right


RESNET50 = (3, 4, 6, 3), (64, 128, 256, 512)  # Blocks and filters.


def main(seed=0, stages=RESNET50, size=48, epochs=3, labeled=5000):
    keras.utils.set_random_seed(seed)
    (images, labels), test = load("train", size), load("test", size)
    order = np.random.default_rng(seed).permutation(len(images))

    # Source: with one scale an EPSANet is a ResNet.
    resnet = build(stages, ((3,), (1,)), size)
    train(resnet, images, labels, epochs, rate=0.05, warm_up=0.1)
    results = [report("ResNet", resnet, *test)]

    # Start
    network = build(stages, ((3, 5, 7, 9), (1, 4, 8, 16)), size)
    some = images[order[:512]]
    keras_epsanet.inherit_weights(network, resnet)
    results.append(report("kernels embedded", network, *test))
    keras_epsanet.recalibrate_batch_norm(network, some)
    results.append(report("embedded, then recalibrated", network, *test))
    keras_epsanet.inherit_weights(network, resnet, images=some)
    results.append(report("fitted", network, *test))

    # Fit
    some = order[:labeled]
    train(network, images[some], labels[some], 1, rate=0.02, warm_up=0.2)
    results.append(report(f"after {labeled:,} labeled images", network, *test))
    return results


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
