"""Compares the memory of networks, and how time and memory grow.

    python benchmarks/memory.py
    python benchmarks/memory.py --image-sizes 224 320 512 800 --batch-sizes 1
    python benchmarks/memory.py --shard-sizes 64 256 1024

The third measures the reading of training images from TFRecord files of so
many MB instead of a network.

Each measurement is a process of its own, of which the largest resident size
is taken, less that before the network was built. Time and memory are printed
relative to those of `--against`, and to those of the first size.
KERAS_BACKEND chooses the backend. For CPUs: what a GPU holds is not resident.

On 2 CPU cores with AVX2, TensorFlow, the first command prints

    training, epsanet50_small / ResNet50; alone: / first line
    batch  image      GB  memory  time  alone: memory  time
       16    224    2.59    1.01  1.06           1.00  1.00

and on 2 with AVX-512, beside other work, the third 0.69, 0.72 and 0.94 GB.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
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


def write_shards(folder, size):
    """Writes two files of so many MB, with JPEGs of 110 kB as ImageNet's."""
    import json

    import numpy as np
    import tensorflow as tf

    noise = np.random.default_rng(0).integers(0, 256, (364, 364, 3), "uint8")
    features = {
        "image/encoded": tf.train.Feature(
            bytes_list=tf.train.BytesList(
                value=[tf.io.encode_jpeg(noise, quality=87).numpy()]
            )
        ),
        "image/class/label": tf.train.Feature(
            int64_list=tf.train.Int64List(value=[0])
        ),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    record = example.SerializeToString()
    lengths = {"train": [size * 10**6 // len(record)] * 2, "val": [1]}
    for split, numbers in lengths.items():
        for i, number in enumerate(numbers):
            name = f"{split}-{i:05}-of-{len(numbers):05}.tfrecord"
            with tf.io.TFRecordWriter(f"{folder}/{name}") as writer:
                for _ in range(number):
                    writer.write(record)
    with open(f"{folder}/dataset.json", "w", encoding="utf-8") as file:
        json.dump({"class_names": ["a", "b"], "plan": "", **lengths}, file)


def measure_input_here(folder, batches):
    """Prints the seconds of a batch and the bytes of the largest size."""
    from keras_epsanet.data import imagenet

    dataset = imagenet.training_batches(
        imagenet.open_source(folder), batch_size=64, image_size=32
    )
    before = largest_size()
    start = time.perf_counter()
    for _ in dataset.take(batches):
        pass
    print((time.perf_counter() - start) / batches, largest_size() - before)


def measure(*arguments):
    """Runs a measurement in a process of its own."""
    result = subprocess.run(
        [sys.executable, __file__, "--here", *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    if result.returncode:
        # Not shown otherwise, for TensorFlow is talkative.
        sys.exit(f"{result.stderr}memory: a measurement failed: {arguments}")
    return [float(number) for number in result.stdout.split()[-2:]]


def print_input(sizes, batches):
    """Prints a line for each size of TFRecord files."""
    print("shard in MB  memory in GB  ms an image")
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            write_shards(folder, size)
            seconds, memory = measure("input", folder, batches)
        milliseconds = seconds / 64 * 1000
        print(f"{size:11} {memory / 1e9:13.2f} {milliseconds:12.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="epsanet50_small")
    parser.add_argument("--against", default="ResNet50")
    parser.add_argument(
        "--mode", choices=("inference", "training"), default="training"
    )
    parser.add_argument("--image-sizes", type=int, nargs="+", default=[224])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[16])
    parser.add_argument(
        "--shard-sizes",
        type=int,
        nargs="+",
        metavar="MB",
        help="measure the reading of TFRecord files of these sizes instead",
    )
    parser.add_argument(
        "--input-batches",
        type=int,
        default=80,
        help="batches of 64 images that are read (default: 80)",
    )
    args = parser.parse_args()
    if args.shard_sizes:
        print_input(args.shard_sizes, args.input_batches)
        return
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
    if sys.argv[1:3] == ["--here", "input"]:
        measure_input_here(sys.argv[3], int(sys.argv[4]))
    elif sys.argv[1:2] == ["--here"]:
        measure_here(*sys.argv[2:4], *map(int, sys.argv[4:]))
    else:
        main()
