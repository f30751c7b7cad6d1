"""Evaluates weights on ImageNet as in table 2 of the paper.

    python examples/evaluate.py --weights FILE --data IMAGENET

prints parameters, FLOPs, top-1 and top-5 accuracy beside those of the paper.
FILE is what `train_imagenet.py` left, any other file of Keras, or a checkpoint
of the PyTorch implementation (`.pth`, `.pth.tar`, `.safetensors`). Of every
image the shorter side becomes 256 pixels, and the middle 224×224 are taken.
Not run on ImageNet yet.
"""

import argparse
import os
import sys
import warnings

# On processors without AVX-512 TensorFlow leaves these kernels off, although
# they run this network 2.5 times as fast there too.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras

import keras_epsanet
from keras_epsanet import complexity
from keras_epsanet.data import imagenet
from keras_epsanet.models.imagenet import IMAGENET_MEAN, IMAGENET_STD

MODELS = {
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
    try:
        source = imagenet.open_source(args.data)
        network = load_network(args, len(source.class_names))
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"evaluate: {error}")
    result = evaluate(network, source, args)
    print_row(args.model, network, result)


def parse_args():
    parser = argparse.ArgumentParser(
        description="Evaluates weights on ImageNet."
    )
    parser.add_argument("--weights", metavar="FILE", required=True)
    parser.add_argument("--data", metavar="PATH", required=True)
    parser.add_argument("--model", choices=MODELS, default="epsanet50_small")
    parser.add_argument(
        "--image-size", type=int, default=224, help="default: 224"
    )
    parser.add_argument(
        "--batch-size", type=int, default=64, help="default: 64"
    )
    return parser.parse_args()


def load_network(args, classes):
    with warnings.catch_warnings():
        # A classifier of other classes would be left out with a warning.
        warnings.filterwarnings("error", category=UserWarning)
        try:
            return MODELS[args.model](
                weights=args.weights,
                # Any size, for its FLOPs are those at 224×224.
                input_shape=(None, None, 3),
                classes=classes,
            )
        except UserWarning as warning:
            raise ValueError(str(warning)) from warning


def evaluate(network, source, args):
    """Returns the results by their names, such as `"top1"`."""
    image = keras.Input((args.image_size, args.image_size, 3))
    x = keras.layers.Rescaling(
        scale=[1 / (255 * std) for std in IMAGENET_STD],
        offset=[-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD)],
    )(image)
    model = keras.Model(image, network(x))
    model.compile(
        loss="categorical_crossentropy",
        # Weighted, for the last batch may be padded.
        weighted_metrics=[
            keras.metrics.CategoricalAccuracy(name="top1"),
            keras.metrics.TopKCategoricalAccuracy(k=5, name="top5"),
        ],
    )
    batches = imagenet.evaluation_batches(
        source, args.batch_size, image_size=args.image_size
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
