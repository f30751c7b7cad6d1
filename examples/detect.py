"""Draws what a detector finds in pictures.

    python examples/detect.py IMAGE ...
    python examples/detect.py --run RUN --output FOLDER --json FILE IMAGE ...

takes the detector that `train_coco.py` left in a folder, prints what it finds
in images, or in all images of folders, and saves every picture with boxes,
classes and scores as PNG. A file that is no image is named and left out; then
the exit code is 1.
"""

import argparse
import json
import os
import sys

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import tensorflow as tf

import keras_epsanet
from keras_epsanet import detection, training
from keras_epsanet.commands.predict import decoded, list_files

MULTIPLE = 32  # Of which height and width are, as in training.


def main():
    args = parse_args()
    try:
        model, recipe, class_names = load(args.run)
        files, skipped, report = list_files(args.images), [], []
        for path, image in decoded(files, skipped, "detect"):
            found = detect(model, recipe, image.numpy())
            good = found["confidence"] >= args.min_score
            found = {name: values[good] for name, values in found.items()}
            print(f"{path}: {len(found['labels'])} objects")
            objects = describe(found, class_names)
            for x in objects:
                print(f"  {x['class']} {x['score']:.2f} {np.round(x['box'])}")
            report.append({"file": path, "objects": objects})
            picture = os.path.join(args.output, picture_name(path, files))
            os.makedirs(os.path.dirname(picture) or ".", exist_ok=True)
            detection.draw(
                image.numpy(),
                found["boxes"],
                found["labels"],
                found["confidence"],
                class_names,
                masks=found.get("masks"),
                path=picture,
            )
        if args.json:
            with open(args.json, "w", encoding="utf-8") as file:
                json.dump(report, file, indent=1)
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"detect: {error}")
    if not files:
        sys.exit(f"detect: no images in {', '.join(args.images)}")
    if skipped:
        sys.exit(f"detect: {len(skipped)} of {len(files)} images skipped")


def load(run):
    """Returns detector, recipe and names of the classes of a training."""
    model = keras.saving.load_model(
        os.path.join(run, "model.keras"), compile=False
    )
    with open(os.path.join(run, "class_names.json")) as file:
        class_names = json.load(file)
    with open(os.path.join(run, "recipe.json")) as file:
        recipe = training.CocoRecipe.from_json(file.read())
    if recipe.library != "keras_epsanet":
        raise ValueError(
            "The detector must be one of this package. "
            f"Received: library={recipe.library} in {run}"
        )
    return model, recipe, class_names


def describe(found, class_names):
    """Objects as dictionaries for JSON, boxes as corners in pixels."""
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


def picture_name(path, files):
    """Where a picture belongs, apart from those of all other files."""
    folders = [os.path.dirname(os.path.abspath(file)) for file in files]
    name = os.path.relpath(path, os.path.commonpath(folders))
    stem = os.path.splitext(path)[0]
    if sum(os.path.splitext(file)[0] == stem for file in files) == 1:
        name = os.path.splitext(name)[0]
    return f"{name}.png"


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="file or folder"
    )
    parser.add_argument(
        "--run",
        default="runs/detector",
        help="folder of the training (default: runs/detector)",
    )
    parser.add_argument(
        "--output",
        default="runs/detected",
        metavar="FOLDER",
        help="default: runs/detected",
    )
    parser.add_argument(
        "--min-score",
        type=float,
        default=0.3,
        help="from 0 to 1 (default: 0.3)",
    )
    parser.add_argument("--json", metavar="FILE", help="also write them here")
    return parser.parse_args()


def detect(model, recipe, image):
    """Returns boxes as corners, labels and scores, in pixels of the image."""
    sides = np.array(image.shape[:2])
    scale = min(
        recipe.image_size / sides.min(), recipe.longer_side / sides.max()
    )
    size = np.maximum(1, (sides * scale + 0.5).astype(int))
    resized = tf.image.resize(tf.cast(image, "float32"), size)
    inputs = keras_epsanet.preprocess_input(resized)
    pads = [(0, -n % MULTIPLE) for n in size]
    inputs = np.pad(keras.ops.convert_to_numpy(inputs), [*pads, (0, 0)])
    found = model.predict(inputs[None], verbose=0)
    number = found["num_detections"][0]
    boxes = found["boxes"][0, :number] * np.tile((sides / size)[::-1], 2)
    del found["num_detections"]
    found = {name: values[0, :number] for name, values in found.items()}
    return {**found, "boxes": np.clip(boxes, 0, np.tile(sides[::-1], 2))}


if __name__ == "__main__":
    main()
