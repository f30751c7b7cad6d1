"""Shows where the time of a network goes, layer by layer, in inference.

    python benchmarks/layers.py

Every layer is compiled and timed by itself, so that no runtime can merge it
with its neighbors. For each class of layers: its share of the sum, how many
GFLOP it computes in a second (a multiply-add is two) and which part that is of
the machine's matrix multiplication, measured in the same run. `--all` prints
every layer. KERAS_BACKEND chooses the backend.

On 2 cores of an AMD EPYC processor with AVX2, with TensorFlow:

    epsanet50_small, tensorflow, batch 16, 224×224; matrix multiplication
    124 GFLOP/s
    layer                     share  GFLOP/s  of the multiplication's
    GroupedConv2D 1×1         37.1%      124  100%
    PSA                       30.2%       98  79%
    BatchNormalization        22.2%
    Activation                 4.2%
    Add                        2.9%
    GroupedConv2D 7×7          2.3%      114  92%

(A BatchNorm by itself takes longer than behind the convolution into which
TensorFlow merges it.)
"""

import argparse
import collections
import os
import time

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np

import keras_epsanet
from keras_epsanet.models.variants import MODEL_CONFIGS


def compile_call(function):
    """Returns a function that runs compiled and waits for its result."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    if backend == "jax":
        import jax

        compiled = jax.jit(function)
        return lambda *args: jax.block_until_ready(compiled(*args))

    import torch

    def run(*args):
        with torch.no_grad():
            outputs = function(*args)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return outputs

    return run


def measure(function, inputs, repeats):
    """Returns the median of the seconds that a function takes."""
    run = compile_call(function)
    run(*inputs)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run(*inputs)
        seconds.append(time.perf_counter() - start)
    return np.median(seconds)


def kind_of(layer):
    """The class of a layer; of convolutions with their kernel."""
    kind = type(layer).__name__
    if hasattr(layer, "kernel_size"):
        return f"{kind} {'×'.join(map(str, layer.kernel_size))}"
    return kind


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", default="epsanet50_small", help="or ResNet50, …"
    )
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--all", action="store_true")
    args = parser.parse_args()
    shape = (args.image_size, args.image_size, 3)
    if args.model in MODEL_CONFIGS:
        model = keras_epsanet.EPSANet(
            input_shape=shape, **MODEL_CONFIGS[args.model]
        )
    else:
        network = getattr(keras.applications, args.model)
        model = network(weights=None, input_shape=shape)
    macs = {x.name: x.macs for x in keras_epsanet.complexity(model).layers}

    random = keras.random.normal
    matrix = random((2048, 2048))
    speed = 2 * 2048**3 / measure(keras.ops.matmul, [matrix] * 2, args.repeats)

    rows, kinds = [], collections.defaultdict(lambda: np.zeros(2))
    for layer in model.layers[1:]:
        single = isinstance(layer.input, keras.KerasTensor)
        inputs = [layer.input] if single else layer.input
        inputs = [random((args.batch_size, *x.shape[1:])) for x in inputs]
        call = layer if single else lambda *x, layer=layer: layer(list(x))
        seconds = measure(call, inputs, args.repeats)
        flop = 2 * args.batch_size * macs[layer.name]
        rows.append((layer.name, seconds, flop))
        kinds[kind_of(layer)] += seconds, flop
    total = sum(seconds for _, seconds, _ in rows)

    print(
        f"{args.model}, {keras.backend.backend()}, batch {args.batch_size}, "
        f"{args.image_size}×{args.image_size}; "
        f"matrix multiplication {speed / 1e9:.0f} GFLOP/s"
    )
    if not args.all:
        rows = [(kind, *numbers) for kind, numbers in kinds.items()]
        rows.sort(key=lambda row: -row[1])
    print(f"{'layer':24}  share  GFLOP/s  of the multiplication's")
    for name, seconds, flop in rows:
        line = f"{name:24} {seconds / total:6.1%}"
        if flop:
            rate = flop / seconds
            line += f" {rate / 1e9:8.0f}  {rate / speed:.0%}"
        print(line)


if __name__ == "__main__":
    main()
