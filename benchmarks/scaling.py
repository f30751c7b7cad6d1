"""Predicts how a training grows with GPUs, and measures processes here.

    python benchmarks/scaling.py --images-per-second 1000
    python benchmarks/scaling.py --measure 1 2 4

The first prints, for 1 to 256 GPUs, images a second, what limits them, and
the hours, kWh and price of the paper's 120 epochs. The speed of one GPU is a
figure of yours: `images_per_second` of a first epoch's log. What the others
stand for is in `--help`; the defaults are round assumptions, not measured.

The second starts so many processes on the loopback interface, and prints the
seconds of a training step with the same images for each process, and of the
all-reduce of its gradients by itself. They share the cores of this machine, so
that steps become slower even if nothing is lost to communication.
"""

import argparse
import json
import math
import os
import socket
import subprocess
import sys
import time
from typing import NamedTuple

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

IMAGES, EPOCHS = 1_281_167, 120  # ImageNet's, and the paper's recipe.
GPUS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Cluster(NamedTuple):
    """What a prediction assumes.

    Attributes:
        images_per_second: Of one GPU that trains alone.
        batch_size: Images of a GPU in a step.
        parameters: Numbers whose gradients are added, of 4 bytes each.
        gpus_per_node: GPUs of a machine.
        link: GB a second from a GPU to another of its machine.
        network: GB a second out of a machine, for all its GPUs.
        latency: Seconds from a GPU to the next before the first byte.
        overlap: Share of a step behind which the all-reduce can hide. Keras
            adds gradients after the backward pass, so that it is 0.
        input_per_node: Images a second that a machine reads and decodes.
        watts: Of a GPU with its share of the machine.
        price: Of a GPU for an hour.
    """

    images_per_second: float
    batch_size: int = 128
    parameters: int = 22_561_715  # EPSANet-50 Small.
    gpus_per_node: int = 8
    link: float = 200.0
    network: float = 12.5
    latency: float = 10e-6
    overlap: float = 0.0
    input_per_node: float = 10_000.0
    watts: float = 500.0
    price: float = 2.0


class Prediction(NamedTuple):
    """What is expected of a number of GPUs.

    Attributes:
        images_per_second: Of all together.
        efficiency: Of those of the GPUs by themselves, the share.
        limit: `"GPUs"`, `"network"` or `"input"`: what takes longest.
        hours, kwh, price: Of the whole training.
    """

    images_per_second: float
    efficiency: float
    limit: str
    hours: float
    kwh: float
    price: float


def predict(cluster, gpus):
    """Predicts the training on a number of GPUs.

    Args:
        cluster: `Cluster`.
        gpus: Integer.

    Returns:
        `Prediction`.
    """
    nodes = -(-gpus // cluster.gpus_per_node)
    compute = cluster.batch_size / cluster.images_per_second
    reading = cluster.batch_size * gpus / (cluster.input_per_node * nodes)
    adding = all_reduce(cluster, gpus)
    adding = max(0.0, adding - cluster.overlap * compute)
    # What is read comes while the step before is computed.
    step = max(compute + adding, reading)
    limit = "GPUs" if compute >= adding else "network"
    if reading >= compute + adding:
        limit = "input"
    speed = cluster.batch_size * gpus / step
    hours = IMAGES * EPOCHS / speed / 3600
    return Prediction(
        speed,
        speed / (gpus * cluster.images_per_second),
        limit,
        hours,
        hours * gpus * cluster.watts / 1000,
        hours * gpus * cluster.price,
    )


def all_reduce(cluster, gpus):
    """Seconds of an all-reduce in rings, within machines, then between.

    Each of n members of a ring sends 2 (n - 1) / n of the bytes, in as many
    messages.
    """
    inside = min(gpus, cluster.gpus_per_node)
    nodes = -(-gpus // cluster.gpus_per_node)
    size = 4e-9 * cluster.parameters
    seconds = 0.0
    for members, speed in ((inside, cluster.link), (nodes, cluster.network)):
        seconds += 2 * (members - 1) / members * size / speed
        seconds += 2 * (members - 1) * cluster.latency
    return seconds


def print_predictions(cluster, counts=GPUS):
    print(", ".join(f"{k} {v:,}" for k, v in cluster._asdict().items()))
    print("GPUs   images/s  efficiency  limit      hours       kWh     price")
    for gpus in counts:
        found = predict(cluster, gpus)
        print(
            f"{gpus:4} {found.images_per_second:10,.0f} "
            f"{found.efficiency:11.2f}  {found.limit:7} {found.hours:8,.1f} "
            f"{found.kwh:9,.0f} {found.price:9,.0f}"
        )


def measure(counts, options):
    """Prints what steps and all-reduces take with so many processes."""
    print("processes  images  gradients  step  all-reduce  of the step")
    for count in counts:
        results = run_processes(count, options)
        step, adding, size = (max(column) for column in zip(*results))
        print(
            f"{count:9} {count * options.images:7} {size / 1e6:7.1f} MB "
            f"{step:5.2f} s {adding:9.3f} s {adding / step:11.1%}",
            flush=True,
        )


def run_processes(count, options):
    """Starts workers, and returns what each has printed last."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    workers = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    processes = []
    for index in range(count):
        task = {"type": "worker", "index": index}
        config = {"cluster": {"worker": workers}, "task": task}
        processes.append(
            subprocess.Popen(
                [sys.executable, __file__, "--worker", *sys.argv[1:]],
                stdout=subprocess.PIPE,
                env={**os.environ, "TF_CONFIG": json.dumps(config)},
            )
        )
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit("scaling: a worker failed")
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def work(options):
    """Trains as one of the workers, and prints what it measured."""
    import keras
    import numpy as np
    import tensorflow as tf

    from keras_epsanet.distribution import make_strategy, num_replicas
    from keras_epsanet.models import EPSANet50Small
    from keras_epsanet.training import SGDL2

    strategy = make_strategy()
    size = options.image_size
    with strategy.scope():
        model = EPSANet50Small(input_shape=(size, size, 3), classes=1000)
        model.compile(SGDL2(1e-3), "sparse_categorical_crossentropy")
    images = np.zeros((options.images * num_replicas(strategy), size, size, 3))
    data = tf.data.Dataset.from_tensors(
        (images.astype("float32"), np.zeros(len(images), "int32"))
    )
    steps = Times()
    model.fit(
        data.repeat(options.repeats + 2),
        verbose=0,
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_train_batch_end=lambda batch, logs: steps.end()
            )
        ],
    )
    count = sum(math.prod(w.shape) for w in model.trainable_weights)
    adding = time_all_reduce(strategy, count, options.repeats)
    print(json.dumps([steps.median(), adding, 4 * count]))


def time_all_reduce(strategy, count, repeats):
    """Seconds in which all workers add so many numbers; 0 of one alone."""
    import tensorflow as tf

    if strategy.num_replicas_in_sync == 1:
        return 0.0

    @tf.function
    def add():
        ones = strategy.run(lambda: tf.ones(count))
        return strategy.reduce("SUM", ones, axis=None)

    times = Times()
    for _ in range(repeats + 2):
        add()
        times.end()
    return times.median()


class Times:
    """The seconds between calls of `end`, but for the first two."""

    def __init__(self):
        self.ends = []

    def end(self):
        self.ends.append(time.perf_counter())

    def median(self):
        ends = self.ends[1:]
        seconds = sorted(b - a for a, b in zip(ends, ends[1:]))
        return seconds[len(seconds) // 2]


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in Cluster._field_defaults.items():
        (text,) = [
            line.strip()
            for line in Cluster.__doc__.splitlines()
            if line.strip().startswith(f"{name}:")
        ]
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=type(default),
            default=default,
            help=f"{text.partition(': ')[2]} (default: {default:,})",
        )
    parser.add_argument(
        "--images-per-second", type=float, help="of one GPU that trains alone"
    )
    parser.add_argument("--gpus", type=int, nargs="+", default=GPUS)
    parser.add_argument("--measure", type=int, nargs="+", metavar="PROCESSES")
    parser.add_argument(
        "--images",
        type=int,
        default=8,
        help="of each process in a step that is measured (default: 8)",
    )
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.measure and not options.images_per_second:
        parser.error("--images-per-second or --measure is needed")
    return options


def main():
    options = parse()
    if options.worker:
        work(options)
    elif options.measure:
        measure(options.measure, options)
    else:
        values = {name: getattr(options, name) for name in Cluster._fields}
        print_predictions(Cluster(**values), options.gpus)


if __name__ == "__main__":
    main()
