"""Draws what a detector finds in pictures.

    python examples/detect.py IMAGE ...
    python examples/detect.py --run RUN --output FOLDER IMAGE ...

takes the detector that `train_coco.py` left in a folder, prints what it finds
and saves every picture with boxes, classes and scores as PNG.
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
from keras_epsanet.data import decode_image

MULTIPLE = 32  # Of which height and width are, as in training.


def main():
    args = parse_args()
    try:
        model = keras.saving.load_model(
            os.path.join(args.run, "model.keras"), compile=False
        )
        with open(os.path.join(args.run, "class_names.json")) as file:
            class_names = json.load(file)
        with open(os.path.join(args.run, "recipe.json")) as file:
            recipe = training.CocoRecipe.from_json(file.read())
        if recipe.library != "keras_epsanet":
            raise ValueError(
                "The detector must be one of this package. "
                f"Received: library={recipe.library} in {args.run}"
            )
        os.makedirs(args.output, exist_ok=True)
        for path in args.images:
            image = decode_image(path).numpy()
            found = detect(model, recipe, image)
            good = found["confidence"] >= args.min_score
            found = {name: values[good] for name, values in found.items()}
            print(f"{path}: {len(found['labels'])} objects")
            for label, score, box in zip(
                found["labels"], found["confidence"], found["boxes"]
            ):
                print(f"  {class_names[label]} {score:.2f} {box.round()}")
            name = os.path.splitext(os.path.basename(path))[0]
            detection.draw(
                image,
                found["boxes"],
                found["labels"],
                found["confidence"],
                class_names,
                masks=found.get("masks"),
                path=os.path.join(args.output, f"{name}.png"),
            )
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"detect: {error}")


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+", metavar="IMAGE")
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
