"""Measures what an EPSANet keeps of the ResNet that it starts from.

    python benchmarks/trained_start.py --seeds 0 1 2

trains a ResNet-50 for three epochs on the 10,000 embedded images at 48×48 for
each seed, makes EPSANet-50 Smalls from it, without images, recalibrated, and
fitted to 512 of them, and trains the last on 5,000 labels. It prints top-1 on
the 2,000 test images, and the mean and the standard deviation over the seeds
of its difference from the ResNet's: docs/trained_start.md. A seed takes about
half an hour on two cores.
"""

import argparse
import pathlib
import runpy

EXAMPLE = pathlib.Path(__file__).parents[1] / "examples/warm_start.py"
warm_start = runpy.run_path(str(EXAMPLE))

import keras  # noqa: E402, after what the example sets for TensorFlow
import numpy as np  # noqa: E402

import keras_epsanet  # noqa: E402


def measure(seed, stages, size, fitted_to, labeled):
    """Returns top-1 of the ResNet, and of each EPSANet by its name."""
    build, train = warm_start["build"], warm_start["train"]
    keras.utils.set_random_seed(seed)
    (images, labels), test = (
        warm_start["load"](split, size) for split in ("train", "test")
    )
    order = np.random.default_rng(seed).permutation(len(images))

    def accuracy(name, network):
        return warm_start["accuracy"](name, network, *test)

    resnet = build(stages, ((3,), (1,)), size)
    train(resnet, images, labels, rate=0.05)
    embedded, fitted = (
        build(stages, warm_start["EPSANET"], size) for _ in range(2)
    )
    found = {"the ResNet": accuracy(f"seed {seed}: the ResNet", resnet)}
    keras_epsanet.inherit_weights(embedded, resnet)
    found["embedded"] = accuracy("embedded", embedded)
    keras_epsanet.recalibrate_batch_norm(embedded, images)
    found["recalibrated"] = accuracy("recalibrated", embedded)
    few = images[order[:fitted_to]]
    keras_epsanet.inherit_weights(fitted, resnet, images=few)
    found["fitted"] = accuracy("fitted", fitted)
    some = order[:labeled]
    train(fitted, images[some], labels[some], rate=0.05)
    found["trained on"] = accuracy("trained on", fitted)
    return found


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--fitted-to", type=int, default=512)
    parser.add_argument("--labeled", type=int, default=5000)
    parser.add_argument(
        "--blocks", type=int, nargs="+", default=warm_start["RESNET50"][0]
    )
    parser.add_argument(
        "--filters", type=int, nargs="+", default=warm_start["RESNET50"][1]
    )
    args = parser.parse_args()
    stages = tuple(args.blocks), tuple(args.filters)
    seeds = [
        measure(seed, stages, args.size, args.fitted_to, args.labeled)
        for seed in args.seeds
    ]
    for name in seeds[0]:
        values = np.array([100 * found[name] for found in seeds])
        differences = values - [100 * found["the ResNet"] for found in seeds]
        print(
            f"{name:15s}",
            *(f"{value:6.2f}" for value in values),
            f"  {differences.mean():+.2f} ± {differences.std():.2f}",
        )


if __name__ == "__main__":
    main()
