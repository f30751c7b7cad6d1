"""Draws what a detector finds in images and videos."""

import argparse
import os
import sys

import numpy as np

from keras_epsanet import detection, storage
from keras_epsanet.atomic import write_file
from keras_epsanet.commands.detect_video import picture_ending, run_videos
from keras_epsanet.commands.named_images import find_images
from keras_epsanet.commands.options import (
    add_detector_options,
    open_detector,
)
from keras_epsanet.commands.outputs import (
    check_targets,
    check_writable,
    not_written,
)
from keras_epsanet.commands.reporting import (
    SKIPPED,
    check_installed,
    decoded,
    end_if_skipped,
    one_line_errors,
    progress_bar,
    usable,
)
from keras_epsanet.data.file_names import picture_names, printable
from keras_epsanet.data.video import ENDINGS, is_video
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
        files, skipped = find_images(program, args.images, videos=True), []
        videos = [path for path in files if is_video(path)]
        if videos:
            check_installed(["av"], "A video")
        pictures = picture_names(
            files, lambda path: picture_ending(path, args.frames)
        )
        check_outputs(args, files, pictures)
        with usable(program, args.weights or args.run):
            detector = open_detector(args)
        findings = Findings(detector.class_names)
        images = [path for path in files if not is_video(path)]
        try:
            pairs = decoded(images, skipped, program)
            run(args, detector, images, pairs, pictures, findings)
            broken = run_videos(
                args, detector, videos, pictures, findings, program
            )
        except BaseException:
            if findings.num_images:  # Of a video it may be much.
                for line in write(args, findings):
                    print(f"{program}: {line}", file=sys.stderr)
            raise
        failed = write(args, findings)
        report(findings, len(images) - len(skipped), args, bool(videos))
        if failed:
            sys.exit(f"{program}: {', and '.join(failed)}")
        end_if_broken(program, videos, broken)
        end_if_skipped(program, images, skipped)


def check_outputs(args, files, pictures):
    """Checks, before any work, where pictures and tables are written.

    Args:
        args: What `parse` returned.
        files: List of the paths of all images and videos.
        pictures: Dictionary from the paths to names of pictures.

    Raises:
        OSError: If a table cannot be written.
        ValueError: If one of the files would be replaced.
    """
    targets = {x: os.path.join(args.output, pictures[x]) for x in files}
    tables = [x for x in (args.json, args.csv) if x is not None]
    folders = [targets[x] for x in files if args.frames and is_video(x)]
    check_targets([*targets.values(), *tables], files, folders)
    for path in tables:
        check_writable(path)


def parse(arguments=None, program="detect"):
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
        usage="%(prog)s [options] IMAGE...",
        epilog=SKIPPED,
    )
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="image file, folder with images at any depth, or video "
        f"({', '.join(ENDINGS)}; needs the package av)",
    )
    add_detector_options(parser)
    _add_results(parser)
    args = parser.parse_args(arguments)
    if not 0 <= args.min_score <= 1:
        parser.error(f"--min-score: {args.min_score} is not from 0 to 1")
    for ending in ("json", "csv"):
        path = getattr(args, ending)
        if path is not None and not path.endswith(f".{ending}"):
            parser.error(f"--{ending}: {path} does not end in .{ending}")
    return args


def _add_results(parser):
    """Adds the options of what is drawn and written."""
    parser.add_argument(
        "--output",
        default="runs/detected",
        metavar="FOLDER",
        help="folder for the pictures and videos (default: runs/detected)",
    )
    parser.add_argument(
        "--frames",
        action="store_true",
        help="draw each frame of a video into a picture, "
        "FOLDER/NAME/000000.png and so on, instead of all into the video "
        "FOLDER/NAME.mp4, which has no sound",
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="write what is found to a .json file of COCO's form too; of a "
        "video each frame is an image with the number `frame`, from 0 on",
    )
    parser.add_argument(
        "--csv",
        metavar="FILE",
        help="write what is found to a .csv file too, of videos with a column "
        "`frame`",
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


def write(args, findings):
    """Writes what was found to the files that were asked for, each of them.

    Args:
        args: What `parse` returned.
        findings: `Findings`.

    Returns:
        List of strings, which could not be written, and why.
    """
    tables = {args.json: findings.to_json, args.csv: findings.to_csv}
    failed = []
    for path, text in tables.items():
        if path is None:
            continue
        try:
            write_file(path, text())
        except OSError as error:
            failed.append(not_written(path, error))
    return failed


def end_if_broken(program, videos, broken):
    """Ends the process with a line if videos were not read to their ends.

    Args:
        program: Name of the command in messages.
        videos: List of the paths of all videos.
        broken: List of those that were not.

    Raises:
        SystemExit: With a message.
    """
    if broken:
        sys.exit(
            f"{program}: {len(broken)} of {len(videos)} videos could not be "
            "read, or not to the end"
        )


def run(args, detector, files, images, pictures, findings):
    """Detects, prints and draws.

    Args:
        args: What `parse` returned.
        detector: A detector of this package.
        files: List of paths.
        images: Iterable of pairs, a path and its image.
        pictures: Dictionary from paths to names of pictures.
        findings: `Findings`, to which what is found is added.
    """
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


def print_objects(name, found):
    """Prints what was found in one image."""
    number = len(found["scores"])
    objects = f"{number} objects" if number else "nothing found"
    print(f"{name}: {objects}", flush=True)
    for label, score, box in zip(
        found["class_names"], found["scores"], found["boxes"]
    ):
        print(f"  {label} {score:.2f} {box.round()}", flush=True)


def report(found, number, args, has_videos=False):
    """Says what was found in all images, and where it is."""
    if (number > NAMED or has_videos) and len(found):
        counts = ", ".join(f"{name} {n}" for name, n in found.counts().items())
        where = f"{found.num_images} images{' and frames' * has_videos}"
        print(f"{len(found)} objects in {where}: {counts}")
    if number or not has_videos:
        print(f"Saved the pictures of {number} in {args.output}")
    if found.num_images and not len(found):
        print(
            f"Nothing was found with a score of {args.min_score} or more; "
            "--min-score shows what is less certain"
        )
