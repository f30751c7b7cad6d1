"""Plays the pointing game: is the hottest pixel on the object?

    python benchmarks/pointing_game.py

trains a small EPSANet to name the one item of scenes (`data/scenes.py`), items
of Fashion-MNIST on textured backgrounds, and explains others. A hit is a map
whose highest pixel lies on the item, for images that are named rightly; chance
is the mean share of the pixels that are on the item. The same is played with
random weights, whose maps should be no better than chance. KERAS_BACKEND
chooses the backend; `--weights FILE` keeps the weights of the training.
"""

import argparse
import os

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np

import keras_epsanet
from keras_epsanet import explain
from keras_epsanet.data import scenes
from keras_epsanet.explain.methods import METHODS
from keras_epsanet.explain.model_inputs import run

CLASSES = 10


def build(size):
    """A network whose last map has an eighth of the image's side."""
    return keras_epsanet.EPSANet(
        stackwise_num_blocks=(2, 2),
        stackwise_num_filters=(64, 128),
        kernel_sizes=(3, 5, 7, 9),
        groups=(1, 4, 8, 16),
        classes=CLASSES,
        input_shape=(size, size, 3),
        include_preprocessing=True,
    )


def compose(split, number, size):
    """Images of one item each, their classes and masks."""
    images, labels, masks = [], [], []
    for index in range(number):
        image, label, mask = scenes.compose(split, index, size, 0, (1, 1))
        images.append(image)
        labels.append(label[0])
        masks.append(mask[0])
    return np.stack(images), np.array(labels), np.stack(masks)


def train(model, args):
    images, labels, _ = compose("train", args.scenes, args.image_size)
    steps = args.epochs * -(-len(images) // args.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=0.05, warmup_steps=steps // 10
    )
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )
    model.fit(
        images, labels, args.batch_size, args.epochs, verbose=2, shuffle=True
    )


def play(model, images, labels, masks, method, layer=None):
    """Returns the share of the maps whose highest pixel is on the item."""
    maps = explain.grad_cam(model, images, layer, labels.tolist(), method)
    places = maps.reshape(len(maps), -1).argmax(axis=-1)
    hits = masks.reshape(len(masks), -1)[np.arange(len(maps)), places]
    return (hits & (maps.max(axis=(1, 2)) > 0)).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=6000)
    parser.add_argument("--test-scenes", type=int, default=500)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--weights", metavar="FILE")
    args = parser.parse_args()

    keras.utils.set_random_seed(0)
    model, untrained = build(args.image_size), build(args.image_size)
    if args.weights and os.path.exists(args.weights):
        model.load_weights(args.weights)
    else:
        train(model, args)
        if args.weights:
            model.save_weights(args.weights)
    images, labels, masks = compose("val", args.test_scenes, args.image_size)
    predicted = np.concatenate(
        [run(model, images[i : i + 32]) for i in range(0, len(images), 32)]
    ).argmax(axis=-1)
    right = predicted == labels
    print(f"{right.mean():.1%} of {len(images)} scenes named rightly")
    chosen = images[right], labels[right], masks[right]
    print(f"chance          {masks[right].mean():6.1%}")
    for method in METHODS:
        found, random = (
            play(network, *chosen, method) for network in (model, untrained)
        )
        print(f"{method:10} {found:6.1%}   random weights {random:6.1%}")


if __name__ == "__main__":
    main()
