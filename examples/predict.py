"""Names what images show, with a model of `train_classifier.py`.

    python examples/predict.py --model runs/classifier/model.keras IMAGE...

prints the most probable classes of every JPEG, PNG, BMP or GIF file. The
model should have been trained with such images: those of Fashion-MNIST are
light clothes on a black background.
"""

import argparse
import sys

import keras

from keras_epsanet import data
from keras_epsanet.layers import ClassNames


def main():
    args = parse_args()
    try:
        model = keras.saving.load_model(args.model, compile=False)
        class_names = find_class_names(model)
    except (KeyError, OSError, TypeError, ValueError) as error:
        sys.exit(f"predict: {args.model} cannot be used: {error}")

    failed = 0
    for path in args.images:
        try:
            image = data.decode_image(path)
        except ValueError as error:
            print(f"predict: {error}", file=sys.stderr)
            failed += 1
            continue
        predictions = model(image[None], training=False)
        print(path)
        for name, probability in class_names.decode(predictions, args.top)[0]:
            print(f"  {probability:6.1%}  {name}")
    if failed:
        sys.exit(f"predict: {failed} of {len(args.images)} images skipped")


def parse_args():
    parser = argparse.ArgumentParser(
        description="Names what images show.",
        usage="%(prog)s [options] IMAGE...",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.add_argument(
        "--model",
        metavar="FILE",
        default="runs/classifier/model.keras",
        help="default: runs/classifier/model.keras",
    )
    parser.add_argument(
        "--top",
        type=int,
        choices=range(1, 11),
        metavar="K",
        default=3,
        help="number of classes to name, 1 to 10 (default: 3)",
    )
    return parser.parse_args()


def find_class_names(model):
    for layer in model.layers:
        if isinstance(layer, ClassNames):
            return layer
    raise ValueError("it has no layer ClassNames")


if __name__ == "__main__":
    main()
