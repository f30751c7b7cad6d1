"""Prints what explanations cost, against a pass forward and backward.

    python benchmarks/explanations.py

explains 16 images of 224×224 with EPSANet-50 Small: Grad-CAM and the methods
like it, and the weights of its attention. The unit is the gradient of the
loss with respect to all weights, in one program as in a training, without the
update. All run in turns in one process; ratios are those of the medians.
KERAS_BACKEND chooses the backend, of which JAX compiles for minutes.
"""

import argparse
import os
import time

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np

import keras_epsanet
from keras_epsanet import explain
from keras_epsanet.classification.comparison.costs import device
from keras_epsanet.explain.methods import METHODS


def forward_and_backward(model, images, labels):
    """A function that does both, and waits for the result."""
    # A rate of 0: the update of the weights is the only other thing.
    model.compile(
        keras.optimizers.SGD(0.0),
        "sparse_categorical_crossentropy",
        jit_compile=keras.backend.backend() == "jax",
    )
    return lambda: model.train_on_batch(images, labels)


def measure(runs, repeats):
    """Returns the median seconds of each function."""
    for run in runs.values():
        run()
    times = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: np.median(values) for name, values in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()

    size = args.image_size
    model = keras_epsanet.EPSANet50Small(input_shape=(size, size, 3))
    random = np.random.default_rng(0)
    images = random.normal(size=(args.batch_size, size, size, 3))
    images = images.astype("float32")
    labels = np.zeros(args.batch_size, "int32")
    runs = {"forward and backward": forward_and_backward(model, images, labels)}
    for method in METHODS:
        runs[method] = lambda method=method: explain.grad_cam(
            model, images, method=method
        )
    runs["attention"] = lambda: explain.attention(model, images)
    print(
        f"{keras.backend.backend()}, {device()}, batch {args.batch_size}, "
        f"{size}×{size}"
    )
    seconds = measure(runs, args.repeats)
    unit = seconds["forward and backward"]
    for name, value in seconds.items():
        print(f"{name:21} {value / unit:6.2f}", flush=True)


if __name__ == "__main__":
    main()
