"""Names what images show."""

import argparse
import csv
import io
import json
import os
import sys

import keras
import numpy as np

from keras_epsanet import data
from keras_epsanet.atomic import write_file
from keras_epsanet.data.class_folders import ENDINGS
from keras_epsanet.data.file_names import printable
from keras_epsanet.layers import ClassNames

FORMATS = (".json", ".csv")


def main(arguments=None, program="predict"):
    """Runs the command.

    Args:
        arguments: List of strings; `None` for those of the process.
        program: Name of the command in messages.

    Raises:
        SystemExit: With a message if the model cannot be used or images were
            skipped.
    """
    args = parse(arguments, program)
    try:
        model = keras.saving.load_model(args.model, compile=False)
        names = find_class_names(model)
    except (KeyError, OSError, TypeError, ValueError) as error:
        sys.exit(f"{program}: {args.model} cannot be used: {error}")
    skipped = []
    files = list_files(args.images)
    found = []
    images = decoded(files, skipped, program)
    for paths, batch in same_shapes(images, args.batch_size, resizing(model)):
        predictions = names.decode(model(batch, training=False), args.top)
        for path, classes in zip(paths, predictions):
            path = printable(path)
            found.append((path, classes))
            if args.output is None:
                show(path, classes)
    try:
        if args.output is not None:
            write(args.output, found)
            print(f"Saved the predictions of {len(found)} in {args.output}")
    except OSError as error:
        sys.exit(f"{program}: {args.output} cannot be written: {error}")
    if not files:
        sys.exit(f"{program}: no images in {', '.join(args.images)}")
    if skipped:
        sys.exit(f"{program}: {len(skipped)} of {len(files)} images skipped")


def parse(arguments=None, program="predict"):
    """Reads the command line.

    Args:
        arguments: List of strings; `None` for those of the process.
        program: Name of the command in messages.

    Returns:
        `argparse.Namespace`.
    """
    parser = make_parser(program)
    args = parser.parse_args(arguments)
    if args.batch_size < 1:
        parser.error(f"--batch-size: {args.batch_size} is not positive")
    if args.output is not None and not args.output.endswith(FORMATS):
        parser.error(
            f"--output: {args.output} ends neither in .json nor in .csv"
        )
    return args


def make_parser(program):
    parser = argparse.ArgumentParser(
        prog=program,
        description="Names what images show.",
        usage="%(prog)s [options] IMAGE...",
    )
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="image file, or folder with images at any depth",
    )
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
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        default=16,
        help="images that are computed at a time (default: 16)",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="write to a .json or .csv file instead of printing",
    )
    return parser


def find_class_names(model):
    """Returns the layer of a classifier that knows the classes' names."""
    for layer in model.layers:
        if isinstance(layer, ClassNames):
            return layer
    raise ValueError("it has no layer ClassNames")


def resizing(model):
    """Returns the layer that resizes a model's images, or an identity.

    An image that is resized before the model goes through it unchanged, so
    that images of all sizes fit into a batch.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.Resizing):
            return layer
    return lambda images: images


def list_files(paths):
    """Lists image files: those that are named and all in the folders named.

    Args:
        paths: List of strings.

    Returns:
        List of strings, those of a folder in the order of their names.
        Hidden files and folders are left out.
    """
    files = []
    for path in paths:
        if not os.path.isdir(path):
            files.append(path)
            continue
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(x for x in folders if not x.startswith("."))
            files += [
                os.path.join(folder, name)
                for name in sorted(names)
                if name.lower().endswith(ENDINGS) and not name.startswith(".")
            ]
    return files


def decoded(files, skipped, program):
    """Decodes images one by one; bad ones are named and noted.

    Args:
        files: List of paths.
        skipped: List to which the paths of bad files are added.
        program: Name of the command in messages.

    Yields:
        Pairs of a path and an image, uint8 `(H, W, 3)`.
    """
    for path in files:
        try:
            yield path, data.decode_image(path)
        except ValueError as error:
            print(f"{program}: {error}", file=sys.stderr)
            skipped.append(path)


def same_shapes(images, size, resize):
    """Puts images that follow each other and have one shape into batches.

    Args:
        images: Iterable of pairs, path (or what tells it) and image.
        size: Integer, images in a batch at most.
        resize: Function of a batch of images.

    Yields:
        Pairs of a list of paths and a float32 array `(N, H, W, 3)`.
    """
    paths, batch = [], []
    for path, image in images:
        image = np.asarray(image, "float32")[None]
        image = keras.ops.convert_to_numpy(resize(image))
        if batch and (len(batch) == size or batch[0].shape != image.shape):
            yield paths, np.concatenate(batch)
            paths, batch = [], []
        paths.append(path)
        batch.append(image)
    if batch:
        yield paths, np.concatenate(batch)


def show(path, classes):
    print(path)
    for name, probability in classes:
        print(f"  {probability:6.1%}  {name}", flush=True)


def write(path, found):
    """Writes predictions as JSON or CSV, by the ending of the file.

    Args:
        path: Path of the file.
        found: List of pairs, path of an image and its classes as of
            `ClassNames.decode`.
    """
    if path.endswith(".json"):
        content = [
            {
                "file": file,
                "predictions": [
                    {"class": name, "probability": probability}
                    for name, probability in classes
                ],
            }
            for file, classes in found
        ]
        text = json.dumps(content, indent=1) + "\n"
    else:
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(["file", "rank", "class", "probability"])
        for file, classes in found:
            for rank, (name, probability) in enumerate(classes, start=1):
                writer.writerow([file, rank, name, probability])
        text = lines.getvalue()
    write_file(path, text)
