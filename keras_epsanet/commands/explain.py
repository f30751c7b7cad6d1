"""Shows why a classifier or a detector says what it says, on one page."""

import argparse
import itertools
import os

import numpy as np

from keras_epsanet import storage
from keras_epsanet.classification import evaluation, pictures
from keras_epsanet.commands.explained_images import first_images, open_data
from keras_epsanet.commands.explained_models import (
    OF_CLASSIFIERS,
    OF_DETECTORS,
    check_pictures,
    load_models,
)
from keras_epsanet.commands.named_images import find_images
from keras_epsanet.commands.options import DETECTOR, MODEL, positive
from keras_epsanet.commands.reporting import (
    SKIPPED,
    decoded,
    end_if_skipped,
    one_line_errors,
)
from keras_epsanet.data.file_names import printable
from keras_epsanet.detection.detector import Detector
from keras_epsanet.explain import attention_report, detection_report, report
from keras_epsanet.explain.class_maps import NAMES
from keras_epsanet.explain.page import write_page

BATCH_SIZE = 32


def main(arguments=None, program="explain"):
    """Runs the command.

    Args:
        arguments: List of strings; `None` for those of the process.
        program: Name of the command in messages.

    Raises:
        SystemExit: With a message if a model or the images cannot be used,
            or images were skipped.
    """
    args = parse(arguments, program)
    with one_line_errors(program):
        explain(args, program)


def parse(arguments=None, program="explain"):
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
        usage="%(prog)s [options] [IMAGE...]",
        epilog=SKIPPED,
    )
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        help="image file, or folder with images at any depth; for a "
        "classifier without any, some of --data are explained",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--model",
        metavar="FILE",
        default=MODEL,
        help="trained classifier or detector, or the folder of its training "
        f"(default: {MODEL})",
    )
    which.add_argument("--weights", metavar="DETECTOR", help=DETECTOR)
    _add_how(parser)
    _add_of_classifiers(parser)
    _add_of_detectors(parser)
    args = parser.parse_args(arguments)
    if args.min_score is not None and not 0 <= args.min_score <= 1:
        parser.error(f"--min-score: {args.min_score} is not from 0 to 1")
    return args


def _add_how(parser):
    """Adds the options of how it is explained."""
    parser.add_argument(
        "--method",
        choices=NAMES,
        help="how pixels are weighed (default: "
        f"{OF_CLASSIFIERS['method']} of classifiers, {OF_DETECTORS['method']} "
        "of detectors); scorecam is for classifiers alone",
    )
    parser.add_argument(
        "--layer",
        metavar="NAME",
        help="layer whose pixels are weighed (default: the last one with "
        "pixels, of a detector the last one of its backbone); an unknown NAME "
        "lists those that there are",
    )
    parser.add_argument(
        "--max-images",
        type=positive("max_images"),
        metavar="N",
        default=12,
        help="most images that are explained (default: 12)",
    )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        default="runs/explained",
        help="folder for index.html and its pictures (default: runs/explained)",
    )


def _add_of_classifiers(parser):
    group = parser.add_argument_group("for classifiers alone")
    group.add_argument(
        "--compare",
        metavar="FILE",
        help="another classifier, which is shown beside it",
    )
    group.add_argument(
        "--data",
        metavar="PATH",
        help="folder of labeled images as of `evaluate`, to look for mistakes "
        "(default: none with IMAGE, otherwise the embedded Fashion-MNIST, for "
        "a model of its classes)",
    )
    group.add_argument(
        "--ablation-images",
        type=positive("ablation_images"),
        metavar="N",
        help="images of --data to switch scales off on "
        f"(default: {OF_CLASSIFIERS['ablation_images']})",
    )


def _add_of_detectors(parser):
    group = parser.add_argument_group("for detectors alone")
    group.add_argument(
        "--max-detections",
        type=positive("max_detections"),
        metavar="N",
        help="best detections of an image that are explained "
        f"(default: {OF_DETECTORS['max_detections']})",
    )
    group.add_argument(
        "--min-score",
        type=float,
        metavar="SCORE",
        help="least score of what is explained, from 0 to 1 "
        f"(default: {OF_DETECTORS['min_score']})",
    )


def explain(args, program):
    """Writes the page and its pictures.

    Args:
        args: What `parse` returned.
        program: Name of the command in messages.
    """
    pictures.import_pyplot()
    files = find_images(program, args.images) if args.images else []
    skipped = []
    if files:
        check_pictures(args.output, files)
    models = load_models(args, program)
    data = open_data(args, models)
    if files:
        chosen = decoded(files[: args.max_images], skipped, program)
        images = {printable(path): np.asarray(x) for path, x in chosen}
        number = len(files)
    else:
        images = first_images(data, args.max_images)
        number = data.num_images
    if images:
        report_number(len(images), number, args.max_images)
        storage.makedirs(args.output, exist_ok=True)
        (model, *_) = models.values()
        if isinstance(model, Detector):
            sections = detected_sections(args, models, images)
        else:
            sections = make_sections(args, models, images, data)
        path = os.path.join(args.output, "index.html")
        write_page(path, f"What decides: {', '.join(models)}", sections)
        print(f"Saved {path}")
    end_if_skipped(program, files, skipped)


def report_number(number, total, most):
    """Says how many images are explained, and of how many."""
    text = f"Explaining {number} image{'s' * (number != 1)}"
    if most < total:
        text += f" of {total:,} (--max-images {most})"
    print(text, flush=True)


def detected_sections(args, models, images):
    """Makes the pictures of what a detector finds, and of its attention.

    Args:
        args: What `parse` returned, with the defaults of detectors.
        models: Dictionary from its name to a detector with class names.
        images: Dictionary from names to arrays `(H, W, 3)`.

    Returns:
        List of `Section`.
    """
    (detector,) = models.values()
    sections = [
        detection_report.detection_section(
            detector,
            images,
            args.output,
            args.method,
            args.layer,
            args.max_detections,
            args.min_score,
        ),
        attention_report.attention_section(models, images, args.output),
    ]
    return [section for section in sections if section is not None]


def make_sections(args, models, images, data):
    """Makes the pictures of all sections.

    Args:
        args: What `parse` returned.
        models: What `load_models` returned.
        images: Dictionary from names to arrays `(H, W, 3)`.
        data: What `evaluation.open_images` returned, or `None`.

    Returns:
        List of `Section`.
    """
    folder, some = args.output, {name: [] for name in models}
    if data is not None:
        number = -(-args.ablation_images // BATCH_SIZE)
        for name, model in models.items():
            batches = labeled(model, data)
            some[name] = list(itertools.islice(batches, number))
    sections = [
        report.class_section(models, images, folder, args.method, args.layer),
        attention_report.attention_section(
            models,
            images,
            folder,
            {name: [x for x, _ in some[name]] for name in models},
        ),
    ]
    if data is not None:
        print("Switching scales off and looking for mistakes", flush=True)
        every = {name: labeled(model, data) for name, model in models.items()}
        sections += [
            report.ablation_section(models, some, folder),
            report.error_section(models, every, folder),
        ]
    return [section for section in sections if section is not None]


def labeled(model, data):
    """Yields batches of images as a model takes them, and their classes.

    Args:
        model: Classifier.
        data: What `evaluation.open_images` returned.

    Yields:
        Pairs of a float32 array `(N, H, W, 3)` and an integer array `(N,)`.
    """
    for labels, batch in evaluation.labeled_batches(model, data, BATCH_SIZE):
        yield batch, np.array(labels)
