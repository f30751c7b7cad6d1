"""Times PSA with convolutions in either layout, by ratios. For GPUs.

    python benchmarks/layout.py
    python benchmarks/layout.py --dtype bfloat16 --batch-size 64
    python benchmarks/layout.py --no-jit

For every distinct PSA of a network that is built channels_last: the time of
`layout="channels_first"`, with its two transpositions, relative to that of
`layout="channels_last"`, forward and forward with all gradients. Each number
is the median (quartiles) of `--repeats` ratios of neighboring runs. Below 1
channels_first is faster. Then the memory that the gradients need at most
beside weights and images, in MB, as TensorFlow and PyTorch tell it of a GPU.

`--jit` compiles with XLA, which on TensorFlow may choose a layout itself, and
with PyTorch's own compiler; by default TensorFlow does on a GPU, PyTorch does
not, as Keras has it. JAX always compiles. KERAS_BACKEND chooses the backend.

No GPU was measured with it yet, and what it prints on a CPU says nothing about
one: there TensorFlow and JAX transpose around each channels_first convolution.
"""

import argparse
import os

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
from latency import measure_ratios

import keras_epsanet
from keras_epsanet.layers import PSA
from keras_epsanet.models.variants import MODEL_CONFIGS
from keras_epsanet.ops.layouts import LAYOUTS
from keras_epsanet.ops.processor import gpu_name, processor_name
from keras_epsanet.ops.steps import compile_steps


def find_modules(variant, image_size):
    """Returns the different PSA modules, as pairs of a size and a config."""
    model = keras_epsanet.EPSANet(
        input_shape=(image_size, image_size, 3),
        data_format="channels_last",
        **MODEL_CONFIGS[variant],
    )
    found = {}
    for layer in model.layers:
        if isinstance(layer, PSA):
            config = layer.get_config()
            del config["name"]
            size = tuple(layer.input.shape[1:])
            found[size, layer.filters, str(layer.strides)] = size, config
    return list(found.values())


def build_runs(config, layout, shape, dtype, jit):
    """Returns functions that run a PSA: forward, and with all gradients."""
    policy = "float32" if dtype == "float32" else f"mixed_{dtype}"
    layer = PSA.from_config({**config, "dtype": policy, "layout": layout})
    layer.build(shape)
    weights = [
        keras.ops.convert_to_tensor(x.value) for x in layer.trainable_variables
    ]
    random = np.random.default_rng(0)
    images, upstream = [
        keras.ops.cast(random.standard_normal(x), dtype)
        for x in (shape, layer.compute_output_shape(shape))
    ]

    def call(images, weights):
        return layer.stateless_call(weights, [], images)[0]

    return compile_steps(call, images, weights, upstream, jit)


def megabytes(run):
    """Returns what a run adds to a GPU's memory at most, if it is told."""
    backend = keras.backend.backend()
    if gpu_name() is None or backend == "jax":
        return None  # JAX tells the peak of the whole process.
    if backend == "torch":
        import torch

        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    import tensorflow as tf

    tf.config.experimental.reset_memory_stats("GPU:0")
    before = tf.config.experimental.get_memory_info("GPU:0")["current"]
    run()
    peak = tf.config.experimental.get_memory_info("GPU:0")["peak"]
    return (peak - before) / 1e6


def in_words(ratios):
    low, median, high = np.percentile(ratios, (25, 50, 75))
    return f"{median:.2f} ({low:.2f}–{high:.2f})"


def resolve_jit(jit):
    """Returns whether it is compiled; `None` is as Keras has it."""
    backend = keras.backend.backend()
    if backend == "jax":
        if jit is False:
            raise SystemExit("layout: JAX always compiles: leave --no-jit out")
        return True
    if jit is None:
        return backend == "tensorflow" and gpu_name() is not None
    return jit


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", choices=MODEL_CONFIGS, default="epsanet50_small"
    )
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="bfloat16 with weights of float32",
    )
    parser.add_argument(
        "--jit",
        action=argparse.BooleanOptionalAction,
        help="default: as Keras has it",
    )
    parser.add_argument("--repeats", type=int, default=25)
    args = parser.parse_args()
    jit = resolve_jit(args.jit)
    keras.utils.set_random_seed(0)

    print(
        f"{gpu_name() or processor_name()}, {keras.backend.backend()}"
        f"{', compiled' if jit else ''}: {args.model}, {args.dtype}, batch "
        f"{args.batch_size}: time of channels_first / channels_last"
    )
    print("input        filters strides  forward           ", end="")
    print("with gradients    MB: channels_last, first")
    for size, config in find_modules(args.model, args.image_size):
        shape = (args.batch_size, *size)
        last, first = [
            build_runs(config, layout, shape, args.dtype, jit)
            for layout in LAYOUTS
        ]
        ratios = [
            in_words(measure_ratios(pair, args.repeats))
            for pair in zip(first, last)
        ]
        memory = [megabytes(run) for run in (last[1], first[1])]
        memory = ["-" if x is None else f"{x:.0f}" for x in memory]
        print(
            f"{'×'.join(map(str, size)):12} {config['filters']:7} "
            f"{config['strides']!s:>7}  {ratios[0]:18}{ratios[1]:18}"
            f"{', '.join(memory)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
