"""Trains a detector on new classes: further from old ones, and from scratch.

    python benchmarks/new_classes.py

composes scenes of six kinds of clothes and scenes of shoes and bags, trains
Faster R-CNN on the former from random weights, and then on the latter twice:
`keras-epsanet train-coco --weights OLD/model.keras` in a third of the steps,
and without `--weights` in all of them. Nothing else differs. All is left in
`--output`, where the same command goes on. Not run to its end yet.
"""

import argparse
import csv
import os
import subprocess
import sys

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from keras_epsanet.data import scenes
from keras_epsanet.data.fashion_mnist import CLASS_NAMES

NEW = ("Sandal", "Sneaker", "Bag", "Ankle boot")
OLD = tuple(name for name in CLASS_NAMES if name not in NEW)
BATCH_SIZE = 2
# The recipe of the demonstration on scenes (`keras_epsanet.detection.demo`),
# which `--data` does not have by itself.
OPTIONS = (
    "--detector faster_rcnn --optimizer adam --learning-rate 0.004 "
    "--schedule cosine --warm-up-epochs 0.1 --clipnorm 10 --num-samples 64 "
    f"--freeze-stages 0 --no-norm-eval --batch-size {BATCH_SIZE}"
)
COMMAND = "from keras_epsanet_command import main; main()"


def compose(folder, classes, args):
    if not os.path.isdir(folder):
        scenes.write(
            folder,
            args.scenes,
            args.held_out,
            args.image_size,
            objects=(1, 3),
            classes=classes,
        )


def train(run, data, args, epochs, *start):
    """Trains as a user does, and returns the last epoch's log."""
    size = str(args.image_size)
    options = (
        f"--image-size {size} --longer-side {size} --epochs {epochs} "
        f"--evaluate-every {epochs}"
    )
    given = ["--data", data, "--output", run, *OPTIONS.split(), *start]
    subprocess.run(
        [sys.executable, "-c", COMMAND, "train-coco", *given, *options.split()],
        check=True,
    )
    with open(f"{run}/log.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="runs/new_classes", metavar="RUNS")
    parser.add_argument("--scenes", type=int, default=500, metavar="N")
    parser.add_argument("--held-out", type=int, default=100, metavar="N")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=1, metavar="N")
    args = parser.parse_args()
    os.makedirs(args.output, exist_ok=True)
    old, new = (f"{args.output}/{name}_scenes" for name in ("old", "new"))
    compose(old, OLD, args)
    compose(new, NEW, args)
    runs = {
        name: f"{args.output}/{name}" for name in ("old", "scratch", "further")
    }
    start = ("--weights", f"{runs['old']}/model.keras")
    train(runs["old"], old, args, 3 * args.epochs)
    rows = {
        "from scratch": train(runs["scratch"], new, args, 3 * args.epochs),
        "further": train(runs["further"], new, args, args.epochs, *start),
    }
    for name, row in rows.items():
        steps = (int(row["epoch"]) + 1) * (args.scenes // BATCH_SIZE)
        figures = "  ".join(
            f"{metric} {float(row[f'val_{metric}']):.1%}"
            for metric in ("AP", "AP50")
        )
        print(f"{name:12}  {steps:5,} steps  {figures}")


if __name__ == "__main__":
    main()
