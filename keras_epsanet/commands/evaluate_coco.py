"""Evaluates a detector by COCO's rules, on COCO or on data in its form."""

import argparse
import json
import os

from keras_epsanet import distribution, storage, training
from keras_epsanet.atomic import whole, write_file
from keras_epsanet.commands.options import (
    add_detector_options,
    open_detector,
    positive,
)
from keras_epsanet.commands.outputs import check_targets
from keras_epsanet.commands.reporting import (
    check_installed,
    one_line_errors,
    progress_bar,
    report_bad,
    usable,
)
from keras_epsanet.data.coco.annotations import load_coco
from keras_epsanet.data.coco.layouts import PARTS
from keras_epsanet.detection import sources
from keras_epsanet.detection.ap_table import format_table, published_rows
from keras_epsanet.detection.coco_figures import draw_precision_recall
from keras_epsanet.detection.coco_report import CocoReport, masks_are_known
from keras_epsanet.detection.evaluation_folder import evaluate_images
from keras_epsanet.distribution.cluster import check_one_process
from keras_epsanet.training.claim import check_claim, claim_folder

PACKAGES = ("pycocotools", "matplotlib")
RESULTS = (
    "metrics.json",
    "classes.csv",
    "precision_recall.png",
    "results.json",
)
ADVICE = "The same command goes on after the last images that are done"


def main(arguments=None, program="evaluate_coco"):
    """Runs the command.

    Args:
        arguments: List of strings; `None` for those of the process.
        program: Name of the command in messages.

    Raises:
        SystemExit: With a message if the detector or the data cannot be
            used.
    """
    args = parse(arguments, program)
    with one_line_errors(program, ADVICE):
        check_one_process("An evaluation")
        check_installed(PACKAGES, "An evaluation")
        written = [os.path.join(args.output, name) for name in RESULTS]
        check_targets(written, [args.data])
        strategy = training.make_strategy()
        with strategy.scope(), usable(program, args.weights or args.run):
            detector = open_detector(args)
        claims = []

        def begin(found):
            check_classes(detector, found, args.data)
            storage.makedirs(args.output, exist_ok=True)
            claims.append(claim_folder(args.output))

        annotations = sources.open_part(
            args.data, args.part, args.output, args.run, begin
        )
        evaluate(args, detector, annotations, strategy, *claims)


def parse(arguments=None, program="evaluate_coco"):
    """Reads the command line.

    Args:
        arguments: List of strings; `None` for those of the process.
        program: Name of the command in messages.

    Returns:
        `argparse.Namespace`.
    """
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog=program,
        description=__doc__,
        usage="%(prog)s --data COCO [options]",
    )
    parser.add_argument(
        "--data",
        metavar="COCO",
        required=True,
        help="folder of COCO's, Pascal VOC's or YOLO's form, or one .json file",
    )
    parser.add_argument(
        "--part",
        choices=PARTS,
        default="val",
        help="part of the folder to evaluate on (default: val)",
    )
    add_detector_options(parser)
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        default="runs/evaluated",
        help="folder for the results, where the same command goes on "
        "(default: runs/evaluated)",
    )
    parser.add_argument(
        "--batch-size",
        type=positive("batch_size"),
        metavar="N",
        help="images that are computed at a time (default: one on each device)",
    )
    return parser.parse_args(arguments)


def evaluate(args, detector, annotations, strategy, claim):
    """Evaluates, prints and leaves the results.

    Args:
        args: What `parse` returned.
        detector: A detector of this package.
        annotations: `keras_epsanet.data.coco.Annotations`.
        strategy: What `make_strategy` returned.
        claim: What `claim_folder` returned for the output folder.
    """
    batch_size = args.batch_size or distribution.num_replicas(strategy)
    results, bad = evaluate_images(
        detector,
        annotations,
        batch_size,
        args.output,
        progress(len(annotations.images)),
        claim,
    )
    report_bad(bad)
    known = masks_are_known(load_coco(annotations.path))
    has_masks = detector.FAMILY == "mask_rcnn" and known
    iou_types = ("bbox", "segm")[: 1 + has_masks]
    report = CocoReport(annotations.path, results, iou_types)
    beside = published_rows(
        detector.FAMILY, annotations.class_names, args.weights
    )
    print("", *format_table(report.metrics, beside), sep="\n")
    print("", *report.class_lines(), sep="\n")
    check_claim(claim)
    leave(args.output, report, results)
    print(f"Saved in {args.output}: {', '.join(RESULTS)}")


def check_classes(detector, annotations, data):
    """Refuses data of other classes than the detector's.

    Args:
        detector: A detector of this package.
        annotations: `keras_epsanet.data.coco.Annotations`.
        data: String, what was opened, for messages.

    Raises:
        ValueError: If the number, the names or the order of the classes
            differ.
    """
    theirs = list(annotations.class_names)
    ours = detector.class_names
    if detector.num_classes != len(theirs):
        difference = f"{detector.num_classes} classes, not {len(theirs)}"
    elif ours is not None and list(ours) != theirs:
        i = next(
            i for i, pair in enumerate(zip(ours, theirs)) if len({*pair}) > 1
        )
        difference = f"{ours[i]!r} as class {i}, not {theirs[i]!r}"
    else:
        return
    raise ValueError(
        "The detector must know the classes of the data, in their order. "
        f"Received: a detector with {difference} as in {data}"
    )


def progress(number):
    """Returns a function that shows how many of the images are done."""
    bar, before = progress_bar(number), []

    def show(done):
        if not before and done:
            print(f"{done:,} of {number:,} images were done before")
        if not before or done > before[-1]:
            bar.update(done)
        before[:] = [done]

    return show


def leave(folder, report, results):
    """Writes the results of an evaluation.

    Args:
        folder: Path of a folder that exists.
        report: `CocoReport`.
        results: List of dictionaries in COCO's form.
    """
    paths = [os.path.join(folder, name) for name in RESULTS]
    text = json.dumps(report.metrics, indent=1) + "\n"
    write_file(paths[0], text)
    write_file(paths[1], report.to_csv())
    with whole(paths[2]) as temporary:
        draw_precision_recall(report, temporary)
    write_file(paths[3], json.dumps(results))
