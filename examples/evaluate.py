"""Evaluates a classifier on a folder of images, or weights on ImageNet.

    python examples/evaluate.py --model FILE --data FOLDER

takes the `model.keras` that `train_classifier.py` left, and a folder with a
sub-folder of images for each class, or its part `val` or `test`; without
`--data`, the embedded images. It prints loss, top-1 and, of more than five
classes, top-5 accuracy, the accuracy of every class, and for which others it
is taken; `--confusion FILE` writes all of it as CSV.

    python examples/evaluate.py --weights FILE --data IMAGENET

evaluates weights on ImageNet as in table 2 of the paper and prints
parameters, FLOPs, top-1 and top-5 accuracy beside those of the paper. FILE is
what `train_imagenet.py` left, any other file of Keras, or a checkpoint of the
PyTorch implementation (`.pth`, `.pth.tar`, `.safetensors`). Of every image
the shorter side becomes 256 pixels, and the middle 224×224 are taken. Not run
on ImageNet yet.
"""

import argparse
import csv
import functools
import io
import os
import sys
import warnings

# On processors without AVX-512 TensorFlow leaves these kernels off, although
# they run this network 2.5 times as fast there too.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import tensorflow as tf

import keras_epsanet
from keras_epsanet import complexity, distribution, training
from keras_epsanet.atomic import write_file
from keras_epsanet.commands.predict import (
    find_class_names,
    resizing,
    same_shapes,
)
from keras_epsanet.data import imagenet
from keras_epsanet.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD

NETWORKS = {
    "epsanet50_small": keras_epsanet.EPSANet50Small,
    "epsanet50_large": keras_epsanet.EPSANet50Large,
    "epsanet101_small": keras_epsanet.EPSANet101Small,
    "epsanet101_large": keras_epsanet.EPSANet101Large,
}
# Table 2 of the paper: parameters in millions, FLOPs in billions, top-1 and
# top-5 accuracy in percent.
TABLE_2 = {
    "epsanet50_small": (22.56, 3.62, 77.49, 93.54),
    "epsanet50_large": (27.90, 4.72, 78.64, 94.18),
    "epsanet101_small": (38.90, 6.82, 78.43, 94.11),
    "epsanet101_large": (49.59, 8.97, 79.38, 94.58),
}


def main():
    args = parse_args()
    # Keras says so after batches whose number it is not told.
    warnings.filterwarnings("ignore", "Your input ran out of data")
    try:
        if args.model:
            evaluate_model(args)
        else:
            evaluate_weights(args)
    except (ImportError, OSError, TypeError, ValueError) as error:
        sys.exit(f"evaluate: {error}")


def parse_args():
    parser = argparse.ArgumentParser(
        description="Evaluates a classifier.",
        usage="%(prog)s (--model FILE | --weights FILE) [options]",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--model", metavar="FILE", help="model of train_classifier.py"
    )
    source.add_argument(
        "--weights", metavar="FILE", help="weights for ImageNet"
    )
    parser.add_argument("--data", metavar="PATH", help="images to evaluate")
    parser.add_argument(
        "--batch-size", type=int, default=64, help="default: 64"
    )
    parser.add_argument(
        "--confusion",
        metavar="FILE",
        help="write the confusion matrix of --model as CSV",
    )
    parser.add_argument(
        "--network",
        choices=NETWORKS,
        default="epsanet50_small",
        help="whose the weights are (default: epsanet50_small)",
    )
    parser.add_argument(
        "--image-size",
        type=int,
        default=224,
        help="of ImageNet, in pixels (default: 224)",
    )
    args = parser.parse_args()
    if args.weights and not args.data:
        parser.error("--weights needs --data")
    if args.batch_size < 1:
        parser.error("--batch-size must be positive")
    return args


def evaluate_model(args):
    strategy = training.make_strategy()
    with strategy.scope():
        model = keras.saving.load_model(args.model, compile=False)
    names = find_class_names(model).names
    images = open_images(args.data)
    places = match_classes(images.class_names, names)
    labels, probabilities = predict(model, images, places, strategy, args)
    confusion = np.zeros((len(names), len(names)), int)
    np.add.at(confusion, (labels, probabilities.argmax(axis=-1)), 1)
    print_result(names, labels, probabilities, confusion)
    if args.confusion:
        write_confusion(args.confusion, names, confusion)


def open_images(path):
    """The images to evaluate: those of `val` or `test` if there are any."""
    if path is None:
        return keras_epsanet.data.fashion_mnist("test")
    for name in ("val", "test"):
        part = os.path.join(path, name)
        if os.path.isdir(part) and os.path.isdir(os.path.join(path, "train")):
            return keras_epsanet.data.image_folder(part)
    return keras_epsanet.data.image_folder(path)


def match_classes(class_names, names):
    """The model's number of every class of the images, by its name."""
    unknown = sorted(set(class_names) - set(names))
    if unknown:
        raise ValueError(
            f"The model's classes are {', '.join(names)}. "
            f"Received: images of {', '.join(unknown)}"
        )
    return np.array([names.index(name) for name in class_names])


def predict(model, images, places, strategy, args):
    """Returns true classes `(N,)` and probabilities `(N, classes)`."""
    labels = []
    resize = resizing(model)
    if None not in model.input_shape[1:3]:
        resize = functools.partial(tf.image.resize, size=model.input_shape[1:3])

    def pairs():
        for image, label in images.prefetch(tf.data.AUTOTUNE):
            if image.shape[-1] == 1:
                image = tf.image.grayscale_to_rgb(image)
            yield places[label], image

    def batches():
        for numbers, batch in same_shapes(pairs(), args.batch_size, resize):
            labels.extend(numbers)
            yield batch

    probabilities = distribution.predict(model, batches(), strategy)
    return np.array(labels), probabilities


def print_result(names, labels, probabilities, confusion):
    true = probabilities[np.arange(len(labels)), labels]
    order = np.argsort(-probabilities, axis=-1, kind="stable")
    right = order == labels[:, None]
    loss = -np.log(np.maximum(true, 1e-7)).mean()
    line = f"{len(labels)} images: loss {loss:.4f}"
    line += f", top-1 {right[:, 0].mean():.2%}"
    if len(names) > 5:
        line += f", top-5 {right[:, :5].any(axis=-1).mean():.2%}"
    print(line)
    for i, name in enumerate(names):
        count = confusion[i].sum()
        if count:
            wrong = sorted(
                (-confusion[i, j], names[j])
                for j in range(len(names))
                if j != i and confusion[i, j]
            )
            taken = ", ".join(f"{other} {-n}" for n, other in wrong[:3])
            print(
                f"  {name}: {confusion[i, i] / count:.2%} of {count}"
                + (f", taken for {taken}" if taken else "")
            )


def write_confusion(path, names, confusion):
    """Writes a row for each true class, a column for each predicted one."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["true \\ predicted", *names])
    writer.writerows([name, *row] for name, row in zip(names, confusion))
    write_file(path, text.getvalue())
    print(f"Saved {path}")


def evaluate_weights(args):
    source = imagenet.open_source(args.data)
    strategy = training.make_strategy()
    with strategy.scope():
        network = load_network(args, len(source.class_names))
        result = evaluate(network, source, args, strategy)
    print_row(args.network, network, result)


def load_network(args, classes):
    with warnings.catch_warnings():
        # A classifier of other classes would be left out with a warning.
        warnings.filterwarnings("error", category=UserWarning)
        try:
            return NETWORKS[args.network](
                weights=args.weights,
                # Any size, for its FLOPs are those at 224×224.
                input_shape=(None, None, 3),
                classes=classes,
            )
        except UserWarning as warning:
            raise ValueError(str(warning)) from warning


def evaluate(network, source, args, strategy):
    """Returns the results by their names, such as `"top1"`."""
    image = keras.Input((args.image_size, args.image_size, 3))
    x = keras.layers.Rescaling(
        scale=[1 / (255 * std) for std in IMAGENET_STD],
        offset=[-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD)],
    )(image)
    model = keras.Model(image, network(x))
    model.compile(
        loss="categorical_crossentropy",
        # Weighted, for devices may be given more than the images.
        weighted_metrics=[
            keras.metrics.CategoricalAccuracy(name="top1"),
            keras.metrics.TopKCategoricalAccuracy(k=5, name="top5"),
        ],
    )
    batches = distribution.divide_batches(
        lambda shard: imagenet.evaluation_batches(
            source, args.batch_size, image_size=args.image_size, shard=shard
        ),
        strategy,
    )
    return model.evaluate(batches, return_dict=True)


def print_row(name, network, result):
    counts = complexity(network, (224, 224, 3))
    ours = (
        counts.parameters / 1e6,
        counts.flops / 1e9,
        100 * result["top1"],
        100 * result["top5"],
    )
    titles = ("parameters in M", "FLOPs in G", "top-1 %", "top-5 %")
    print(f"{'Table 2':18}", *(f"{title:>16}" for title in titles))
    print(" " * 18, *4 * [f"{'ours':>8}{'paper':>8}"])
    pairs = zip(ours, TABLE_2[name])
    print(f"{name:18}", *(f"{mine:8.2f}{paper:8.2f}" for mine, paper in pairs))


if __name__ == "__main__":
    main()
