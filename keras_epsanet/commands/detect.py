"""Draws what a detector finds in images."""

import argparse
import os

import numpy as np

from keras_epsanet import detection, storage
from keras_epsanet.atomic import write_file
from keras_epsanet.commands.options import (
    add_detector_options,
    open_detector,
)
from keras_epsanet.commands.reporting import (
    SKIPPED,
    decoded,
    end_if_no_files,
    end_if_skipped,
    one_line_errors,
    progress_bar,
    usable,
)
from keras_epsanet.data.file_names import picture_names, printable
from keras_epsanet.data.image_files import list_files
from keras_epsanet.detection.findings import Findings

# Of more images there is a progress bar instead of a line for each object.
NAMED = 10


def main(arguments=None, program="detect"):
    """Runs the command.

    Args:
        arguments: List of strings; `None` for those of the process.
        program: Name of the command in messages.

    Raises:
        SystemExit: With a message if the detector cannot be used, a result
            cannot be written, or images were skipped.
    """
    args = parse(arguments, program)
    with one_line_errors(program):
        files, skipped = list_files(args.images), []
        end_if_no_files(program, files, args.images)
        with usable(program, args.weights or args.run):
            detector = open_detector(args)
        found = run(args, detector, files, decoded(files, skipped, program))
        if args.json is not None:
            write_file(args.json, found.to_json())
        if args.csv is not None:
            write_file(args.csv, found.to_csv())
        number = len(files) - len(skipped)
        report(found, number, args)
        end_if_skipped(program, files, skipped)


def parse(arguments=None, program="detect"):
    """Reads the command line.

    Args:
        arguments: List of strings; `None` for those of the process.
        program: Name of the command in messages.

    Returns:
        `argparse.Namespace`.
    """
    parser = argparse.ArgumentParser(
        prog=program,
        description="Draws what a detector finds in images.",
        usage="%(prog)s [options] IMAGE...",
        epilog=SKIPPED,
    )
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="image file, or folder with images at any depth",
    )
    add_detector_options(parser)
    parser.add_argument(
        "--output",
        default="runs/detected",
        metavar="FOLDER",
        help="folder for the pictures (default: runs/detected)",
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="write what is found to a .json file of COCO's form too",
    )
    parser.add_argument(
        "--csv", metavar="FILE", help="write what is found to a .csv file too"
    )
    parser.add_argument(
        "--min-score",
        type=float,
        default=0.3,
        metavar="SCORE",
        help="least score of what is drawn, from 0 to 1 (default: 0.3); with "
        "0 it is all that the detector keeps: by default a score of 0.05, and "
        "100 objects of an image",
    )
    args = parser.parse_args(arguments)
    if not 0 <= args.min_score <= 1:
        parser.error(f"--min-score: {args.min_score} is not from 0 to 1")
    for ending in ("json", "csv"):
        path = getattr(args, ending)
        if path is not None and not path.endswith(f".{ending}"):
            parser.error(f"--{ending}: {path} does not end in .{ending}")
    return args


def run(args, detector, files, images):
    """Detects, prints and draws.

    Args:
        args: What `parse` returned.
        detector: A detector of this package.
        files: List of paths.
        images: Iterable of pairs, a path and its image.

    Returns:
        `Findings`.
    """
    pictures = picture_names(files)
    findings = Findings(detector.class_names)
    bar = progress_bar(len(files)) if len(files) > NAMED else None
    places, done = {path: i for i, path in enumerate(files, start=1)}, 0
    for path, image in images:
        image = np.asarray(image)
        found = detector.detect(image, min_score=args.min_score)
        picture = os.path.join(args.output, pictures[path])
        storage.makedirs(os.path.dirname(picture), exist_ok=True)
        detection.draw(
            image,
            found["boxes"],
            found["labels"],
            found["scores"],
            detector.class_names,
            masks=found.get("masks"),
            path=picture,
        )
        if args.json is None:
            found.pop("masks", None)  # Of which only a .json file tells.
        findings.add(printable(path), image.shape[:2], found)
        if bar is None:
            print_objects(printable(path), found)
        else:
            done = places[path]
            bar.update(done)
    if bar is not None and done < len(files):
        bar.update(len(files))  # The last ones were bad.
    return findings


def print_objects(name, found):
    """Prints what was found in one image."""
    number = len(found["scores"])
    objects = f"{number} objects" if number else "nothing found"
    print(f"{name}: {objects}", flush=True)
    for label, score, box in zip(
        found["class_names"], found["scores"], found["boxes"]
    ):
        print(f"  {label} {score:.2f} {box.round()}", flush=True)


def report(found, number, args):
    """Says what was found in all images, and where it is."""
    if number > NAMED and len(found):
        counts = ", ".join(f"{name} {n}" for name, n in found.counts().items())
        print(f"{len(found)} objects in {number} images: {counts}")
    print(f"Saved the pictures of {number} in {args.output}")
    if number and not len(found):
        print(
            f"Nothing was found with a score of {args.min_score} or more; "
            "--min-score shows what is less certain"
        )
