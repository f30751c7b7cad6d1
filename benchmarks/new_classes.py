"""Compares training further on new classes with training from scratch.

    python benchmarks/new_classes.py

composes scenes of six kinds of clothes and fewer of shoes and bags, trains
Faster R-CNN on the former from random weights, and then on the latter twice:
`keras-epsanet train-coco --weights OLD/model.keras` in a third of the steps,
and without `--weights` in all of them. Nothing else differs. All is left in
`--output`, where the same command goes on; another one is refused there.
docs/own_data.md has what came out.
"""

import argparse
import csv
import dataclasses
import json
import os
import subprocess
import sys

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from keras_epsanet import atomic
from keras_epsanet.data import scenes
from keras_epsanet.data.fashion_mnist import CLASS_NAMES
from keras_epsanet.detection import demo
from keras_epsanet.training.checkpoints import find_steps

NEW = ("Sandal", "Sneaker", "Bag", "Ankle boot")
OLD = tuple(name for name in CLASS_NAMES if name not in NEW)
COMMAND = "from keras_epsanet_command import main; main()"


def note_options(args):
    """Notes what a folder is for, and refuses one that is for other options."""
    path = f"{args.output}/options.json"
    options = {k: v for k, v in vars(args).items() if k != "output"}
    if not os.path.exists(path):
        if os.path.isdir(args.output) and os.listdir(args.output):
            sys.exit(
                "new_classes: --output must be a new folder, or one of this "
                f"script. Received: {args.output}"
            )
        os.makedirs(args.output, exist_ok=True)
        atomic.write_file(path, json.dumps(options) + "\n")
    with open(path, encoding="utf-8") as file:
        theirs = json.load(file)
    if options != theirs:
        sys.exit(
            f"new_classes: {args.output} was made with other options. Remove "
            f"it, or take another folder. Received: {options}, not {theirs}"
        )


def compose(folder, number, classes, args):
    if not os.path.isdir(folder):
        scenes.write(
            folder,
            number,
            args.held_out,
            args.image_size,
            objects=(1, 3),
            classes=classes,
        )


def make_recipe(args, epochs):
    """The recipe of scenes, which `--data` does not have by itself."""
    return dataclasses.replace(
        demo.scenes_recipe("faster_rcnn"),
        image_size=args.image_size,
        longer_side=args.image_size,
        epochs=epochs,
        evaluate_every=epochs,
    )


def options_of(recipe):
    """All fields of a recipe as options of `train-coco`."""
    options = []
    for name, value in dataclasses.asdict(recipe).items():
        name = name.replace("_", "-")
        if isinstance(value, bool):
            options.append(f"--{name}" if value else f"--no-{name}")
        else:
            options += [f"--{name}", str(value)]
    return options


def train(run, data, recipe, *start):
    """Trains as a user does; returns the steps and the last epoch's log."""
    given = ["--data", data, "--output", run, *start, *options_of(recipe)]
    subprocess.run(
        [sys.executable, "-c", COMMAND, "train-coco", *given], check=True
    )
    with open(f"{run}/log.csv", encoding="utf-8") as file:
        row = list(csv.DictReader(file))[-1]
    return find_steps(f"{run}/checkpoints")[0], row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="runs/new_classes", metavar="RUNS")
    parser.add_argument("--old-scenes", type=int, default=2000, metavar="N")
    parser.add_argument("--old-epochs", type=int, default=4, metavar="N")
    parser.add_argument("--scenes", type=int, default=500, metavar="N")
    parser.add_argument("--held-out", type=int, default=100, metavar="N")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=1, metavar="N")
    args = parser.parse_args()
    note_options(args)
    old, new = (f"{args.output}/{name}_scenes" for name in ("old", "new"))
    compose(old, args.old_scenes, OLD, args)
    compose(new, args.scenes, NEW, args)
    runs = {
        name: f"{args.output}/{name}" for name in ("old", "scratch", "further")
    }
    short, long = (make_recipe(args, x * args.epochs) for x in (1, 3))
    start = ("--weights", f"{runs['old']}/model.keras")
    train(runs["old"], old, make_recipe(args, args.old_epochs))
    rows = {
        "from scratch": train(runs["scratch"], new, long),
        "further": train(runs["further"], new, short, *start),
    }
    for name, (steps, row) in rows.items():
        figures = "  ".join(
            f"{metric} {float(row[f'val_{metric}']):.1%}"
            for metric in ("AP", "AP50")
        )
        print(f"{name:12}  {steps:5,} steps  {figures}")


if __name__ == "__main__":
    main()
