"""Times an EPSANet against the ResNet-50 of keras.applications.

    python benchmarks/latency.py

Both run in one process, in turns, by Keras' `predict_on_batch` and
`train_on_batch` (SGD with momentum) with random weights and images. Only the
ratios of neighbouring runs are printed: bare times say more about the
machine and what else it does. `jit_compile` is left to Keras, which means
XLA with JAX and on TensorFlow's GPUs, not on TensorFlow's CPUs.

KERAS_BACKEND chooses the backend. On 2 CPU cores, 4 minutes with TensorFlow:

    epsanet50_small / ResNet50, tensorflow, float32, batch 16, 224×224
    inference  median 1.49  quartiles 1.43–1.53  of 15 ratios
    training   median 1.29  quartiles 1.18–1.34  of 15 ratios

and with `--repeats 7`, while other processes ran:

    epsanet50_small / ResNet50, torch, float32, batch 16, 224×224
    inference  median 1.66  quartiles 1.48–1.78  of 7 ratios
    training   median 2.34  quartiles 2.11–2.45  of 7 ratios
    epsanet50_small / ResNet50, jax, float32, batch 16, 224×224
    inference  median 2.11  quartiles 1.94–2.23  of 7 ratios
    training   median 1.55  quartiles 1.44–1.58  of 7 ratios
"""

import argparse
import os
import time

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np

import keras_epsanet
from keras_epsanet.models.variants import MODEL_CONFIGS

CLASSES = 1000


def build_models(variant, image_size):
    """Returns the EPSANet and the ResNet-50, compiled for training."""
    shape = (image_size, image_size, 3)
    if keras.config.image_data_format() == "channels_first":
        shape = (3, image_size, image_size)
    models = (
        keras_epsanet.EPSANet(input_shape=shape, **MODEL_CONFIGS[variant]),
        keras.applications.ResNet50(weights=None, input_shape=shape),
    )
    for model in models:
        model.compile(
            keras.optimizers.SGD(0.01, momentum=0.9),
            "sparse_categorical_crossentropy",
        )
    return models


def measure_ratios(run, models, repeats):
    """Times `run(model)` in turns and returns the ratios of the two models."""
    for model in models:
        run(model)
        run(model)
    ratios = []
    for i in range(repeats):
        seconds = {}
        # Every other pair backwards, so that neither always comes first.
        for model in models if i % 2 == 0 else reversed(models):
            start = time.perf_counter()
            run(model)
            seconds[model] = time.perf_counter() - start
        ratios.append(seconds[models[0]] / seconds[models[1]])
    return ratios


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", choices=MODEL_CONFIGS, default="epsanet50_small"
    )
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument(
        "--dtype", choices=("float32", "mixed_bfloat16"), default="float32"
    )
    parser.add_argument(
        "--mode", choices=("inference", "training", "both"), default="both"
    )
    args = parser.parse_args()

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(args.dtype)
    models = build_models(args.model, args.image_size)
    random = np.random.default_rng(0)
    images = random.normal(size=(args.batch_size, *models[0].input_shape[1:]))
    images = images.astype("float32")
    labels = random.integers(CLASSES, size=args.batch_size)

    print(
        f"{args.model} / ResNet50, {keras.backend.backend()}, {args.dtype}, "
        f"batch {args.batch_size}, {args.image_size}×{args.image_size}"
    )
    runs = {
        "inference": lambda model: model.predict_on_batch(images),
        "training": lambda model: model.train_on_batch(images, labels),
    }
    for mode, run in runs.items():
        if args.mode in (mode, "both"):
            low, median, high = np.percentile(
                measure_ratios(run, models, args.repeats), (25, 50, 75)
            )
            print(
                f"{mode:9}  median {median:.2f}  quartiles {low:.2f}–{high:.2f}"
                f"  of {args.repeats} ratios",
                flush=True,
            )


if __name__ == "__main__":
    main()
