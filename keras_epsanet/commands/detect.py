"""Draws what a detector finds in images."""

import argparse
import collections
import json
import os
import sys

import keras
import numpy as np

import keras_epsanet
from keras_epsanet import detection, training
from keras_epsanet.atomic import write_file
from keras_epsanet.commands.predict import decoded, list_files
from keras_epsanet.data.file_names import printable

MULTIPLE = 32  # Of which height and width are, as in training.


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
    try:
        detector = Detector(args.run)
    except (KeyError, OSError, TypeError, ValueError) as error:
        sys.exit(f"{program}: {args.run} cannot be used: {error}")
    files = list_files(args.images)
    if not files:
        sys.exit(f"{program}: no images in {', '.join(args.images)}")
    skipped = []
    try:
        found = run(args, detector, files, decoded(files, skipped, program))
        if args.json is not None:
            write_file(args.json, json.dumps(found, indent=1) + "\n")
    except (ImportError, OSError) as error:
        sys.exit(f"{program}: {error}")
    print(f"Saved the pictures of {len(found)} in {args.output}")
    if skipped:
        sys.exit(f"{program}: {len(skipped)} of {len(files)} images skipped")


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
    )
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="image file, or folder with images at any depth",
    )
    parser.add_argument(
        "--run",
        default="runs/detector",
        metavar="RUN",
        help="folder of the training (default: runs/detector)",
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


class Detector:
    """The detector that a training left in its folder.

    Args:
        run: Folder of the training.

    Attributes:
        class_names: List of strings.

    Raises:
        OSError, ValueError: If a file is missing, or is no detector of this
            package.
    """

    def __init__(self, run):
        with open(os.path.join(run, "recipe.json")) as file:
            self.recipe = training.CocoRecipe.from_json(file.read())
        if self.recipe.library != "keras_epsanet":
            raise ValueError(
                "The detector must be one of this package. "
                f"Received: library={self.recipe.library}"
            )
        with open(os.path.join(run, "class_names.json")) as file:
            self.class_names = json.load(file)
        self.model = keras.saving.load_model(
            os.path.join(run, "model.keras"), compile=False
        )

    def detect(self, image):
        """Finds the objects of an image.

        Args:
            image: Array `(height, width, 3)`, RGB from 0 to 255.

        Returns:
            Dictionary of `boxes` as corners, in pixels of the image,
            `labels`, `confidence` and, of Mask R-CNN, `masks` of the boxes.
        """
        sides = np.array(image.shape[:2])
        scale = min(
            self.recipe.image_size / sides.min(),
            self.recipe.longer_side / sides.max(),
        )
        size = np.maximum(1, (sides * scale + 0.5).astype(int))
        # As in training, whichever backend predicts.
        import tensorflow as tf

        resized = tf.image.resize(tf.cast(image, "float32"), size).numpy()
        inputs = keras_epsanet.preprocess_input(resized)
        pads = [(0, -n % MULTIPLE) for n in size]
        inputs = np.pad(keras.ops.convert_to_numpy(inputs), [*pads, (0, 0)])
        batch = {"images": inputs[None], "image_size": size[None]}
        found = dict(self.model.predict(batch, verbose=0))
        number = found.pop("num_detections")[0]
        found = {name: values[0, :number] for name, values in found.items()}
        boxes = found["boxes"] * np.tile((sides / size)[::-1], 2)
        return {**found, "boxes": np.clip(boxes, 0, np.tile(sides[::-1], 2))}


def run(args, detector, files, images):
    """Detects, prints and draws.

    Args:
        args: What `parse` returned.
        detector: `Detector`.
        files: List of paths.
        images: Iterable of pairs, a path and its image.

    Returns:
        List of dictionaries, one for each image, as they are written.
    """
    pictures = picture_names(files)
    results = []
    for path, image in images:
        image = np.asarray(image)
        found = detector.detect(image)
        good = found["confidence"] >= args.min_score
        found = {name: values[good] for name, values in found.items()}
        objects = describe(found, detector.class_names)
        if args.json is not None and "masks" in found:
            add_masks(objects, found, image)
        results.append({"file": printable(path), "objects": objects})
        print(f"{printable(path)}: {len(objects)} objects")
        for x, box in zip(objects, found["boxes"]):
            print(f"  {x['class']} {x['score']:.2f} {box.round()}", flush=True)
        picture = os.path.join(args.output, pictures[path])
        os.makedirs(os.path.dirname(picture), exist_ok=True)
        detection.draw(
            image,
            found["boxes"],
            found["labels"],
            found["confidence"],
            detector.class_names,
            masks=found.get("masks"),
            path=picture,
        )
    return results


def describe(found, class_names):
    """What was found, as it is written; boxes are corners."""
    return [
        {
            "class": class_names[label],
            "score": float(score),
            "box": [float(x) for x in box],
        }
        for label, score, box in zip(
            found["labels"], found["confidence"], found["boxes"]
        )
    ]


def add_masks(objects, found, image):
    """Adds the masks to what `describe` returned, as COCO's run lengths."""
    runs = detection.encode_masks(
        found["masks"], found["boxes"], *image.shape[:2]
    )
    for item, run_lengths in zip(objects, runs):
        item["mask"] = run_lengths


def picture_names(files):
    """Names the picture of every file, each another one.

    Args:
        files: List of paths.

    Returns:
        Dictionary from paths to names: those of the files with `.png`, in
        the folders in which they lie below the one that all are in.

    Example:

    >>> picture_names(["a/b/1.jpg", "a/c/1.jpg"])
    {'a/b/1.jpg': 'b/1.png', 'a/c/1.jpg': 'c/1.png'}
    """
    absolute = {path: os.path.abspath(path) for path in files}
    folders = {os.path.dirname(path) for path in absolute.values()}
    top = os.path.commonpath(folders)
    names = {}
    for path, whole in absolute.items():
        names[path] = os.path.relpath(whole, top)
    stems = collections.Counter(
        os.path.splitext(name)[0] for name in set(names.values())
    )
    for path, name in names.items():
        stem = os.path.splitext(name)[0]
        # Both of 1.jpg and 1.webp keep their endings.
        names[path] = f"{stem if stems[stem] == 1 else name}.png"
    return names
