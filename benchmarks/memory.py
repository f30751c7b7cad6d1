"""Compares the memory of networks, and how time and memory grow.

    python benchmarks/memory.py
    python benchmarks/memory.py --image-sizes 224 320 512 800 --batch-sizes 1

Each measurement is a process of its own, of which the largest resident size
is taken, less that before the network was built. Time and memory are printed
relative to those of `--against`, and to those of the first size.
KERAS_BACKEND chooses the backend. For CPUs: what a GPU holds is not resident.

On 2 CPU cores with AVX2, TensorFlow, the first command prints

    training, epsanet50_small / ResNet50; alone: / first line
    batch  image      GB  memory  time  alone: memory  time
       16    224    2.78    1.09  1.02           1.00  1.00
"""

import argparse
import os
import resource
import subprocess
import sys
import time

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def largest_size():
    """Bytes that the process has had resident at most."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts for `ru_maxrss` what the process was started from.
    with open("/proc/self/status", encoding="ascii") as file:
        sizes = dict(line.split(":", 1) for line in file)
    return int(sizes["VmHWM"].removesuffix("kB\n")) * 1024


def measure_here(name, mode, batch_size, image_size):
    """Prints the seconds of a step and the bytes of the largest size."""
    import keras
    import numpy as np

    import keras_epsanet
    from keras_epsanet.models.variants import MODEL_CONFIGS

    before = largest_size()
    shape = (image_size, image_size, 3)
    if name in MODEL_CONFIGS:
        model = keras_epsanet.EPSANet(input_shape=shape, **MODEL_CONFIGS[name])
    else:
        # Of the classifier nothing depends on the size.
        network = getattr(keras.applications, name)
        model = network(weights=None, input_shape=shape)
    model.compile(
        keras.optimizers.SGD(0.01, momentum=0.9),
        "sparse_categorical_crossentropy",
    )
    images = np.zeros((batch_size, *shape), "float32")
    labels = np.zeros(batch_size)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        if mode == "training":
            model.train_on_batch(images, labels)
        else:
            model.predict_on_batch(images)
        seconds.append(time.perf_counter() - start)
    print(min(seconds[1:]), largest_size() - before)


def measure(*arguments):
    """Runs `measure_here` in a process of its own."""
    output = subprocess.run(
        [sys.executable, __file__, "--here", *map(str, arguments)],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ).stdout
    return [float(number) for number in output.split()[-2:]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="epsanet50_small")
    parser.add_argument("--against", default="ResNet50")
    parser.add_argument(
        "--mode", choices=("inference", "training"), default="training"
    )
    parser.add_argument("--image-sizes", type=int, nargs="+", default=[224])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[16])
    args = parser.parse_args()
    print(f"{args.mode}, {args.model} / {args.against}; alone: / first line")
    print("batch  image      GB  memory  time  alone: memory  time")
    first = None
    for batch_size in args.batch_sizes:
        for image_size in args.image_sizes:
            size = args.mode, batch_size, image_size
            seconds, memory = measure(args.model, *size)
            other_seconds, other_memory = measure(args.against, *size)
            first = first or (seconds, memory)
            print(
                f"{batch_size:5} {image_size:6} {memory / 1e9:7.2f} "
                f"{memory / other_memory:7.2f} {seconds / other_seconds:5.2f} "
                f"{memory / first[1]:14.2f} {seconds / first[0]:5.2f}",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--here"]:
        measure_here(*sys.argv[2:4], *map(int, sys.argv[4:]))
    else:
        main()
