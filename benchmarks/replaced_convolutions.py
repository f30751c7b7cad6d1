"""Measures what keras.applications' ResNet50 keeps when PSA moves in.

    python benchmarks/replaced_convolutions.py --seeds 0 1 2

trains a ResNet50 for three epochs on the 10,000 embedded images at 48×48 for
each seed, puts PSA in place of its 3×3 convolutions with 512 of the images, and
prints top-1 on the 2,000 test images before and after: docs/trained_start.md.
A seed takes about eight minutes on two cores.
"""

import argparse
import pathlib
import runpy

EXAMPLE = pathlib.Path(__file__).parents[1] / "examples/warm_start.py"
warm_start = runpy.run_path(str(EXAMPLE))

import keras  # noqa: E402, after what the example sets for TensorFlow
import numpy as np  # noqa: E402

import keras_epsanet  # noqa: E402


def build(size):
    body = keras.applications.ResNet50(
        include_top=False,
        weights=None,
        input_shape=(size, size, 3),
        pooling="avg",
    )
    logits = keras.layers.Dense(10, name="logits")(body.output)
    return keras.Model(body.input, logits)


def measure(seed, size, count, fitted_to):
    """Returns top-1 before and after, in percent."""
    keras.utils.set_random_seed(seed)
    images, labels = (x[:count] for x in warm_start["load"]("train", size))
    test = warm_start["load"]("test", size)
    model = build(size)
    warm_start["train"](model, images, labels, rate=0.05)
    few = images[np.random.default_rng(seed).permutation(count)[:fitted_to]]
    replaced = keras_epsanet.replace_convolutions(model, images=few)
    return [
        100 * warm_start["accuracy"](f"seed {seed}: {name}", network, *test)
        for name, network in (("before", model), ("after", replaced))
    ]


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--fitted-to", type=int, default=512)
    args = parser.parse_args()
    found = np.array(
        [
            measure(seed, args.size, args.images, args.fitted_to)
            for seed in args.seeds
        ]
    )
    difference = found[:, 1] - found[:, 0]
    print(f"difference {difference.mean():+.2f} ± {difference.std():.2f}")


if __name__ == "__main__":
    main()
