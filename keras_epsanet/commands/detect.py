"""Draws what a detector finds in images."""

import argparse
import json
import os

import numpy as np

from keras_epsanet import detection, storage
from keras_epsanet.atomic import write_file
from keras_epsanet.commands.reporting import (
    SKIPPED,
    decoded,
    end_if_no_files,
    end_if_skipped,
    one_line_errors,
    usable,
)
from keras_epsanet.data.file_names import picture_names, printable
from keras_epsanet.data.image_files import list_files
from keras_epsanet.detection.from_recipe import load_detector
from keras_epsanet.detection.mask_head import run_lengths
from keras_epsanet.detection.trained_detectors import load_trained


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
            if args.weights:
                detector = load_trained(args.weights)
            else:
                detector = load_detector(args.run)
        found = run(args, detector, files, decoded(files, skipped, program))
        if args.json is not None:
            write_file(args.json, json.dumps(found, indent=1) + "\n")
        print(f"Saved the pictures of {len(found)} in {args.output}")
        if found and not any(x["objects"] for x in found):
            print(
                f"Nothing was found with a score of {args.min_score} or more; "
                "--min-score shows what is less certain"
            )
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
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--run",
        default="runs/detector",
        metavar="RUN",
        help="folder of the training (default: runs/detector)",
    )
    which.add_argument(
        "--weights",
        metavar="DETECTOR",
        help="a detector of MMDetection instead: the name of a public one, "
        "such as mask_rcnn_resnet50_fpn_1x_coco, which is downloaded once, "
        "or a file",
    )
    parser.add_argument(
        "--output",
        default="runs/detected",
        metavar="FOLDER",
        help="folder for the pictures (default: runs/detected)",
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write what is found to a .json file too"
    )
    parser.add_argument(
        "--min-score",
        type=float,
        default=0.3,
        metavar="SCORE",
        help="from 0 to 1 (default: 0.3)",
    )
    args = parser.parse_args(arguments)
    if not 0 <= args.min_score <= 1:
        parser.error(f"--min-score: {args.min_score} is not from 0 to 1")
    if args.json is not None and not args.json.endswith(".json"):
        parser.error(f"--json: {args.json} does not end in .json")
    return args


def run(args, detector, files, images):
    """Detects, prints and draws.

    Args:
        args: What `parse` returned.
        detector: A detector of this package.
        files: List of paths.
        images: Iterable of pairs, a path and its image.

    Returns:
        List of dictionaries, one for each image, as they are written.
    """
    pictures = picture_names(files)
    results = []
    for path, image in images:
        image = np.asarray(image)
        found = detector.detect(image, min_score=args.min_score)
        objects = describe(found, masks=args.json is not None)
        results.append({"file": printable(path), "objects": objects})
        number = f"{len(objects)} objects" if objects else "nothing found"
        print(f"{printable(path)}: {number}", flush=True)
        for x, box in zip(objects, found["boxes"]):
            print(f"  {x['class']} {x['score']:.2f} {box.round()}", flush=True)
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
    return results


def describe(found, masks):
    """What was found, as it is written; masks are COCO's run lengths."""
    objects = [
        {"class": name, "score": float(score), "box": [float(x) for x in box]}
        for name, score, box in zip(
            found["class_names"], found["scores"], found["boxes"]
        )
    ]
    if masks and "masks" in found:
        for item, runs in zip(objects, run_lengths(found["masks"])):
            item["mask"] = runs
    return objects
