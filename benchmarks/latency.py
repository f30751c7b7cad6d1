"""Times an EPSANet against other networks and other code, by ratios.

    python benchmarks/latency.py
    python benchmarks/latency.py --all --reference CLONE
    python benchmarks/latency.py --against stock --batch-size 2 --repeats 3
    python benchmarks/latency.py --against reference --reference CLONE

The first is against the ResNet of keras.applications of the same depth, the
second prints the table of docs/performance.md, a process for each row. The
third is against the same network made of `keras.layers.Conv2D(groups=…)`, the
fourth against the PyTorch code of the paper's authors in a clone of
https://github.com/murufeng/EPSANet, eager and channels-last unless `--layout`
says otherwise. `--against plain` compares the fused network (`fuse`) with the
one it was made from, in inference; `--against size` another `--image-size`
with 224. `--against tensorflow` compares another KERAS_BACKEND with
TensorFlow, `--against no_onednn` TensorFlow with itself without its oneDNN
kernels. `--fused` compares two networks that are both fused, `--no-settings`
leaves TensorFlow's settings as they are.

All run in turns, the last two in two processes, the others in one, with random
weights and images: Keras' `predict_on_batch` and `train_on_batch` (SGD with
momentum), for PyTorch the same steps. Only the ratios of neighboring runs are
printed, for bare times say more about the machine and what else it does.
`jit_compile` is left to Keras, which means XLA with JAX and on TensorFlow's
GPUs, not on TensorFlow's CPUs. KERAS_BACKEND chooses the backend.

What was measured on which machine stands in docs/performance.md.
"""

import argparse
import contextlib
import functools
import importlib
import multiprocessing
import os
import sys
import time

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
if "--no-settings" not in sys.argv:
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np

import keras_epsanet
from keras_epsanet.graph.fused import FusedModel
from keras_epsanet.models.variants import MODEL_CONFIGS

CLASSES = 1000


def build_model(variant, image_size):
    shape = (image_size, image_size, 3)
    if keras.config.image_data_format() == "channels_first":
        shape = (3, image_size, image_size)
    if variant in MODEL_CONFIGS:
        return keras_epsanet.EPSANet(
            input_shape=shape, **MODEL_CONFIGS[variant]
        )
    return getattr(keras.applications, variant)(weights=None, input_shape=shape)


def use_stock_convolutions(model):
    """Computes grouped convolutions as `keras.layers.Conv2D` does."""

    def convolve(layer, inputs, kernel):
        sizes = [(size // 2, size // 2) for size in layer.kernel_size]
        pads = [(0, 0), *sizes, (0, 0)]
        if layer.data_format == "channels_first":
            pads = [(0, 0), (0, 0), *sizes]
        return keras.ops.conv(
            keras.ops.pad(inputs, pads),
            kernel,
            layer.strides,
            "valid",
            layer.data_format,
        )

    for layer in model._flatten_layers():
        if isinstance(layer, keras_epsanet.layers.GroupedConv2D):
            layer.convolution_op = functools.partial(convolve, layer)
    return model


def keras_runs(model, batch_size):
    """Returns functions that predict with a Keras model and train it."""
    if not isinstance(model, FusedModel):
        model.compile(
            keras.optimizers.SGD(0.01, momentum=0.9),
            "sparse_categorical_crossentropy",
        )
    random = np.random.default_rng(0)
    images = random.normal(size=(batch_size, *model.input_shape[1:]))
    images = images.astype("float32")
    labels = random.integers(CLASSES, size=batch_size)
    return {
        "inference": lambda: model.predict_on_batch(images),
        "training": lambda: model.train_on_batch(images, labels),
    }


def reference_runs(folder, variant, args):
    """The same for the network of the paper's authors, in PyTorch."""
    import torch

    sys.path.insert(0, folder)
    models = importlib.import_module("models.epsanet")
    network = getattr(models, variant.removesuffix("_small"))()
    images = torch.randn(args.batch_size, 3, args.image_size, args.image_size)
    labels = torch.randint(CLASSES, (args.batch_size,))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network, images, labels = (x.to(device) for x in (network, images, labels))
    if args.layout != "default":
        network = network.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)
    step = torch.compile(network) if args.layout == "compile" else network
    autocast = torch.autocast(
        device, torch.bfloat16, enabled=args.dtype == "mixed_bfloat16"
    )

    def infer():
        network.eval()
        with torch.no_grad(), autocast:
            return step(images).float().cpu()

    def train():
        network.train()
        optimizer.zero_grad()
        with autocast:
            loss = torch.nn.functional.cross_entropy(step(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return {"inference": infer, "training": train}


def runs_elsewhere(args, **environment):
    """The same in another process with other environment variables."""
    context = multiprocessing.get_context("spawn")
    connection, end = context.Pipe()
    before = dict(os.environ)
    os.environ.update(environment)
    context.Process(target=serve, args=(end, args), daemon=True).start()
    os.environ.clear()
    os.environ.update(before)

    def run(mode):
        connection.send(mode)
        return connection.recv()

    return {
        mode: functools.partial(run, mode) for mode in ("inference", "training")
    }


def serve(connection, args):
    keras.config.set_dtype_policy(args.dtype)
    model = build_model(args.model, args.image_size)
    runs = keras_runs(model, args.batch_size)
    with contextlib.suppress(EOFError):  # The other process has ended.
        while True:
            runs[connection.recv()]()
            connection.send("done")


def runs_against(args, model):
    """The name of what a model is compared with, and the same of that."""
    if args.against == "reference":
        other = f"authors' PyTorch ({args.layout})"
        return other, reference_runs(args.reference, args.model, args)
    if args.against == "tensorflow":
        return "TensorFlow", runs_elsewhere(args, KERAS_BACKEND="tensorflow")
    if args.against == "no_onednn":
        other = "without oneDNN"
        return other, runs_elsewhere(args, TF_ENABLE_ONEDNN_OPTS="0")
    if args.against == "plain":
        return "unfused", keras_runs(model, args.batch_size)
    if args.against == "resnet":
        other = f"ResNet{args.model[7:].split('_')[0]}"
        network = build_model(other, args.image_size)
        if args.fused:
            network = keras_epsanet.fuse(network)
    elif args.against == "stock":
        other = "stock convolutions"
        network = build_model(args.model, args.image_size)
        use_stock_convolutions(network)
    else:
        other = "224×224"
        network = build_model(args.model, 224)
    return other, keras_runs(network, args.batch_size)


def measure_ratios(runs, repeats):
    """Times two functions in turns and returns the ratios of the times."""
    for run in runs:
        run()
        run()
    ratios = []
    for i in range(repeats):
        seconds = [0.0, 0.0]
        # Every other pair backwards, so that neither always comes first.
        for which in (0, 1) if i % 2 == 0 else (1, 0):
            start = time.perf_counter()
            runs[which]()
            seconds[which] = time.perf_counter() - start
        ratios.append(seconds[0] / seconds[1])
    return ratios


def format_ratios(ratios):
    """Median and quartiles of ratios, as the benchmarks print them."""
    low, median, high = np.percentile(ratios, (25, 50, 75))
    return (
        f"median {median:.2f}  quartiles {low:.2f}–{high:.2f}  "
        f"of {len(ratios)} ratios"
    )


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="print the table")
    parser.add_argument(
        "--model", choices=MODEL_CONFIGS, default="epsanet50_small"
    )
    parser.add_argument(
        "--against",
        choices=(
            *("resnet", "stock", "plain", "size", "reference"),
            *("tensorflow", "no_onednn"),
        ),
        default="resnet",
    )
    parser.add_argument("--reference", metavar="CLONE")
    parser.add_argument(
        "--layout",
        choices=("channels_last", "default", "compile"),
        default="channels_last",
        help="memory layout of the reference, or torch.compile",
    )
    parser.add_argument(
        "--fused", action="store_true", help="both without BatchNorms"
    )
    parser.add_argument(
        "--no-settings",
        action="store_true",
        help="run TensorFlow as it starts by itself",
    )
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument(
        "--dtype", choices=("float32", "mixed_bfloat16"), default="float32"
    )
    parser.add_argument(
        "--mode", choices=("inference", "training", "both"), default="both"
    )
    args = parser.parse_args()
    if args.fused and args.against != "resnet":
        parser.error("--fused compares with the ResNet")
    if args.against == "plain" or args.fused:
        args.mode = "inference"
    if args.against == "reference":
        if not args.reference:
            parser.error("--against reference needs --reference CLONE")
        if not args.model.endswith("_small"):
            parser.error("the authors published the small networks only")
    return args


def main():
    args = parse_args()
    if args.all:
        from latency_table import print_table

        print_table(args)
        return
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(args.dtype)
    model = build_model(args.model, args.image_size)
    other, theirs = runs_against(args, model)
    if args.fused or args.against == "plain":
        model = keras_epsanet.fuse(model)
    runs = keras_runs(model, args.batch_size), theirs
    print(
        f"{args.model} / {other}, {keras.backend.backend()}, {args.dtype}, "
        f"batch {args.batch_size}, {args.image_size}×{args.image_size}"
    )
    for mode in ("inference", "training"):
        if args.mode in (mode, "both"):
            pair = [run[mode] for run in runs]
            ratios = measure_ratios(pair, args.repeats)
            print(f"{mode:9}  {format_ratios(ratios)}", flush=True)


if __name__ == "__main__":
    main()
