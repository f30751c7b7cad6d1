"""Names what images show."""

import argparse
import csv
import io
import json
import sys

from keras_epsanet.atomic import write_file
from keras_epsanet.classification.inference import (
    find_class_names,
    resizing,
    same_shapes,
)
from keras_epsanet.commands.named_images import find_images
from keras_epsanet.commands.options import MODEL, positive
from keras_epsanet.commands.outputs import (
    check_targets,
    check_writable,
    not_written,
)
from keras_epsanet.commands.reporting import (
    SKIPPED,
    decoded,
    end_if_skipped,
    one_line_errors,
    usable,
)
from keras_epsanet.commands.trained_models import load_classifier
from keras_epsanet.data.file_names import printable

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
    with one_line_errors(program):
        predict(args, program)


def predict(args, program):
    """Predicts, and prints or writes what was found.

    Args:
        args: What `parse` returned.
        program: Name of the command in messages.
    """
    files, skipped, found = find_images(program, args.images), [], []
    if args.output is not None:
        check_targets([args.output], files)
        check_writable(args.output)
    with usable(program, args.model):
        model = load_classifier(args.model)
    names = find_class_names(model)
    images = decoded(files, skipped, program)
    try:
        for paths, batch in same_shapes(
            images, args.batch_size, resizing(model)
        ):
            predictions = names.decode(model(batch, training=False), args.top)
            for path, classes in zip(paths, predictions):
                path = printable(path)
                found.append((path, classes))
                if args.output is None:
                    show(path, classes)
    except BaseException:
        line = save(args.output, found)
        if line is not None:
            print(f"{program}: {line}", file=sys.stderr)
        raise
    line = save(args.output, found)
    if line is not None:
        sys.exit(f"{program}: {line}")
    end_if_skipped(program, files, skipped)


def save(path, found):
    """Writes predictions or, where that fails, prints them.

    Args:
        path: Path of the file, or `None` if they were printed.
        found: As in `write`. Of no predictions no file is written.

    Returns:
        String, why it could not be written, or `None`.
    """
    if path is None or not found:
        return None
    try:
        write(path, found)
    except OSError as error:
        for file, classes in found:
            show(file, classes)
        return not_written(path, error)
    print(f"Saved the predictions of {len(found)} in {path}")
    return None


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
    if args.output is not None and not args.output.endswith(FORMATS):
        parser.error(
            f"--output: {args.output} ends neither in .json nor in .csv"
        )
    return args


def make_parser(program):
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog=program,
        description="Names what images show.",
        usage="%(prog)s [options] IMAGE...",
        epilog=SKIPPED,
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
        default=MODEL,
        help="trained classifier, or the folder of its training "
        f"(default: {MODEL})",
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
        type=positive("batch_size"),
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
