"""Prints how near a network's convolutions come to the limits of a processor.

    python benchmarks/roofline.py
    python benchmarks/roofline.py --model epsanet50_large --threads 1

The limits are measured: operations a second by a product of large matrices,
bytes a second by adding a number to a tensor that no cache holds. Computed
directly, on images in memory, a convolution takes at least the time of its
operations at these limits, and at least that of reading its inputs and kernel
and writing its outputs, whichever is more: that is its roofline (Williams et
al., 2009). Beside it stands the least time of
`--repeats` runs of the layer by itself, forward on TensorFlow.

The last lines compare the sums with those of the ResNet of keras.applications:
as measured, and as both would be at their limits. docs/performance.md has what
was measured.
"""

import argparse
import functools
import math
import os
import time
from typing import NamedTuple

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import tensorflow as tf
from latency import build_model

import keras_epsanet
from keras_epsanet.models.variants import MODEL_CONFIGS
from keras_epsanet.ops.processor import processor_name, vector_lanes

KINDS = ("1×1", "larger, one group", "several groups")


def least_seconds(run, repeats):
    """Returns the least time of a function, after its first call."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def measure_limits(repeats):
    """Returns operations and bytes a second."""
    size = 2048
    matrix = tf.random.normal((size, size))
    product = tf.function(lambda: tf.matmul(matrix, matrix))
    operations = 2 * size**3 / least_seconds(product, repeats)
    many = tf.zeros((2**26,))
    add = tf.function(lambda: many + 1.0)
    return operations, 2 * 4 * 2**26 / least_seconds(add, repeats)


def find_convolutions(model):
    """Yields pairs of each convolution and the shape of its input."""
    for layer in model.layers:
        if isinstance(layer, keras_epsanet.layers.PSA):
            for convolution in layer.spc.convolutions:
                yield convolution, layer.input.shape
        elif isinstance(
            layer, (keras.layers.Conv2D, keras_epsanet.layers.GroupedConv2D)
        ):
            yield layer, layer.input.shape


class Row(NamedTuple):
    """All convolutions of one shape; times in milliseconds."""

    name: str
    kind: str
    count: int
    operations: float
    by_operations: float
    by_bytes: float
    measured: float

    @property
    def least(self):
        return max(self.by_operations, self.by_bytes)


def measure(model, args, limits):
    """Returns a `Row` for each different convolution."""
    found = {}
    for layer, shape in find_convolutions(model):
        shape = (args.batch_size, *shape[1:])
        key = (shape, tuple(layer.kernel.shape), tuple(layer.strides))
        found.setdefault(key, []).append(layer)
    rows = []
    for (shape, kernel, strides), (layer, *others) in found.items():
        images = tf.random.normal(shape)
        output = tuple(layer.compute_output_shape(shape))
        operations = 2 * math.prod(output[:3]) * math.prod(kernel)
        # Of a strided 1×1 kernel's input only the pixels that it reads.
        read = (*output[:3], shape[3]) if kernel[:2] == (1, 1) else shape
        numbers = sum(map(math.prod, (read, kernel, output)))
        seconds = least_seconds(
            tf.function(functools.partial(layer, images)), args.repeats
        )
        count = 1 + len(others)
        bounds = operations / limits[0], 4 * numbers / limits[1]
        kind = f"{layer.groups} groups" if layer.groups > 1 else "one group"
        rows.append(
            Row(
                f"{kernel[0]}×{kernel[1]} / {strides[0]}, {kind}, "
                f"{shape[1]}×{shape[2]}×{shape[3]} to {output[3]}",
                KINDS[2 if layer.groups > 1 else kernel[:2] != (1, 1)],
                count,
                count * operations / 1e9,
                *(1e3 * count * x for x in (*bounds, seconds)),
            )
        )
    return rows


def print_rows(model, rows):
    print(f"\n{model}, milliseconds")
    print(f"{'':44} GFLOPs  operations   bytes  measured  of the limit")
    sums = {kind: [row for row in rows if row.kind == kind] for kind in KINDS}
    lines = [(f"{row.count:2} × {row.name}", [row]) for row in rows]
    lines += [(kind, of_kind) for kind, of_kind in sums.items() if of_kind]
    for name, of_line in [*lines, ("all", rows)]:
        total = [
            sum(getattr(row, field) for row in of_line)
            for field in ("operations", "by_operations", "by_bytes", "measured")
        ]
        least = sum(row.least for row in of_line)
        print(
            f"{name:44} {total[0]:6.1f} {total[1]:11.1f} {total[2]:7.1f} "
            f"{total[3]:9.1f} {least / total[3]:13.0%}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", choices=MODEL_CONFIGS, default="epsanet50_small"
    )
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument(
        "--threads", type=int, default=0, help="default: all that there are"
    )
    args = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    limits = measure_limits(args.repeats)
    print(
        f"{processor_name()}, {vector_lanes()} lanes, TensorFlow "
        f"{tf.__version__}, {args.threads or 'all'} threads, float32, batch "
        f"{args.batch_size}: {limits[0] / 1e9:.0f} GFLOP/s, "
        f"{limits[1] / 1e9:.1f} GB/s"
    )
    depth = "ResNet101" if "101" in args.model else "ResNet50"
    rows = {}
    for name in (args.model, depth):
        model = build_model(name, args.image_size)
        rows[name] = measure(model, args, limits)
        print_rows(name, rows[name])
    ours, theirs = rows.values()
    for name in ("measured", "least"):
        ratio = sum(getattr(x, name) for x in ours) / sum(
            getattr(x, name) for x in theirs
        )
        print(f"{args.model} / {depth}, all convolutions, {name}: {ratio:.2f}")


if __name__ == "__main__":
    main()
