"""Times the forms in which GroupedConv2D can be computed, by ratios.

    python benchmarks/convolution.py
    python benchmarks/convolution.py --milliseconds --threads 1 --repeats 12

For every convolution of the PSA modules of a network: how long TensorFlow's
grouped kernel and gradients group by group take on a CPU, relative to the
form that `keras_epsanet/ops/forms.py` chooses, forward and forward with both
gradients; the same for tiles of 8 and of 16 lanes. Each number is the median
of `--repeats` ratios of neighboring runs. Below 1 the choice is wrong for this
machine: `keras_epsanet.autotune` finds a better one. `--milliseconds` prints
the least time of each form instead, forward and of the kernel's gradient alone.
docs/convolution.md has what was measured.
"""

import argparse
import contextlib
import os
import time
from unittest import mock

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf

import keras_epsanet
from keras_epsanet.models.variants import MODEL_CONFIGS
from keras_epsanet.ops import forms

# What is replaced in the package for each form.
OPS = "keras_epsanet.ops."
FORMS = {
    "chosen": {},
    "native": {OPS + "forms._of_table": lambda *_: forms.Forms((1, 1), (1, 1))},
    "8 lanes": {OPS + "grouped_conv_tensorflow.vector_lanes": lambda: 8},
    "16 lanes": {OPS + "grouped_conv_tensorflow.vector_lanes": lambda: 16},
    "per group": {
        OPS + "grouped_conv_tensorflow.lacks_onednn": lambda dtype: True
    },
}


def find_shapes(variant, image_size):
    """Returns the different convolutions of the PSA modules, in order."""
    model = keras_epsanet.EPSANet(
        input_shape=(image_size, image_size, 3), **MODEL_CONFIGS[variant]
    )
    shapes = {}
    for layer in model.layers:
        if isinstance(layer, keras_epsanet.layers.PSA):
            for convolution in layer.spc.convolutions:
                shapes[
                    layer.input.shape[1],
                    layer.input.shape[-1],
                    convolution.filters,
                    convolution.kernel_size[0],
                    convolution.strides[0],
                    convolution.groups,
                ] = None
    return list(shapes)


def build_runs(form, shape, batch_size):
    """Returns functions that run a form.

    Forward, with both gradients, and the gradient of the kernel alone.
    """
    size, channels, filters, kernel_size, strides, groups = shape
    layer = keras_epsanet.layers.GroupedConv2D(
        filters, kernel_size, strides, groups
    )
    images = tf.random.normal((batch_size, size, size, channels))
    upstream = tf.random.normal(layer.compute_output_shape(images.shape))
    layer.build(images.shape)

    @tf.function
    def forward():
        return layer(images)

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = layer(images)
        return tape.gradient(outputs, [images, layer.kernel.value], upstream)

    @tf.function
    def kernel_gradient():
        with tf.GradientTape() as tape:
            outputs = layer(images)
        return tape.gradient(outputs, layer.kernel.value, upstream)

    runs = forward, gradients, kernel_gradient
    with contextlib.ExitStack() as stack:
        for name, value in FORMS[form].items():
            stack.enter_context(mock.patch(name, value))
        for run in runs:
            run()  # It is traced now.
    return runs


def measure(runs, repeats):
    """Returns the seconds of each run, `(repeats, runs)`, in turn."""
    seconds = []
    for _ in range(repeats):
        row = []
        for run in runs:
            start = time.perf_counter()
            run()
            row.append(time.perf_counter() - start)
        seconds.append(row)
    return np.array(seconds)


def ratios(seconds):
    """Returns the median ratio of each run's time to that of the first."""
    return np.median(seconds / seconds[:, :1], axis=0)[1:]


def milliseconds(seconds):
    """Returns the least time of each run."""
    return 1000 * seconds.min(axis=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", choices=MODEL_CONFIGS, default="epsanet50_small"
    )
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument(
        "--milliseconds",
        action="store_true",
        help="the least times instead of ratios",
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="default: all that there are"
    )
    args = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    keras.utils.set_random_seed(0)

    names, places, of_seconds = list(FORMS)[1:], (0, 1), ratios
    what, titles = "times the chosen", ("forward", "with gradients")
    if args.milliseconds:
        names, places, of_seconds = list(FORMS), (0, 2), milliseconds
        what, titles = "milliseconds", ("forward", "the kernel's gradient")
    print(f"{args.model}, float32, batch {args.batch_size}: {what}")
    print(f"{'':42} {titles[0]:{10 * len(names)}} {titles[1]}")
    print("input        filters kernel strides groups", end=" ")
    print(" ".join(f"{name:>9}" for name in names * 2))
    for shape in find_shapes(args.model, args.image_size):
        runs = [build_runs(form, shape, args.batch_size) for form in FORMS]
        rows = [
            of_seconds(measure([run[i] for run in runs], args.repeats))
            for i in places
        ]
        size, channels, filters, kernel_size, strides, groups = shape
        print(
            f"{f'{size}×{size}×{channels}':12} {filters:7} {kernel_size:6} "
            f"{strides:7} {groups:6} "
            + " ".join(f"{x:9.2f}" for row in rows for x in row),
            flush=True,
        )


if __name__ == "__main__":
    main()
