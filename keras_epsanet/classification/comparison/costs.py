"""What a network costs: parameters, FLOPs, the time and memory of a step.

    python -m keras_epsanet.classification.comparison.costs

is how `measure_apart` starts the process that measures one network.
"""

import json
import subprocess
import sys
import time

import keras
import numpy as np

from keras_epsanet import training
from keras_epsanet.classification.comparison import networks, runs
from keras_epsanet.classification.comparison.networks import NONE, Frame
from keras_epsanet.classification.imagenet import models
from keras_epsanet.graph.complexity import complexity
from keras_epsanet.ops.processor import processor_name

# Pairs of steps whose times are compared, and images of a step at most.
REPEATS = 9
MOST_IMAGES = 64


def count(name, frame, recipe, classes):
    """Counts the parameters and FLOPs of a network, which must fit.

    FLOPs are counted as those of the paper's other networks are, which is
    `complexity`'s convention `"table3"`, and with the products of activations
    with activations, which attention between pixels consists of.

    Args:
        name: String, name of the attention.
        frame: `Frame`.
        recipe: Recipe of the comparison.
        classes: Integer.

    Returns:
        Dictionary of the integers `"parameters"` and `"flops"`.

    Raises:
        ValueError: If the attention does not fit the frame.
    """
    network = networks.build_network(name, frame, recipe.image_size, classes)
    counts = complexity(network, convention="table3")
    return {
        "parameters": counts.parameters,
        "flops": counts.flops + counts.products,
    }


def measure_apart(name, frame, recipe, classes):
    """Measures a network in a process of its own.

    So none finds memory that another one has left.

    Args:
        name, frame, recipe, classes: As of `count`.

    Returns:
        What `measure` returns.

    Raises:
        RuntimeError: If the process fails.
    """
    kind = type(recipe).__name__
    asked = [name, frame, kind, recipe.to_json(), classes]
    result = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
    )
    if result.returncode:
        lines = result.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(
            f"The step of {name} cannot be measured "
            f"(exit code {result.returncode}): {lines[-1]}"
        )
    return json.loads(result.stdout.splitlines()[-1])


def measure(name, frame, recipe, classes):
    """Measures training steps of a network and of that without attention.

    Args:
        name, frame, recipe, classes: As of `count`.

    Returns:
        Dictionary: `"step"`, the median of the ratios of neighboring steps
        of both, `"quartiles"` of them, `"seconds"` of a step, `"memory"` of
        training in bytes beyond that of the process before, or `None` where
        it is not known, `"batch"`, `"device"` and `"backend"`.
    """
    images = min(recipe.step_batch_size, MOST_IMAGES)
    before = largest_size()
    step = _step(name, frame, recipe, classes, images)
    for _ in range(3):
        step()
    memory = _gpu_memory() or largest_size() - before
    other = step
    if name != NONE:
        other = _step(NONE, frame, recipe, classes, images)
    ratios, seconds = ratios_of((step, other), REPEATS)
    low, median, high = np.percentile(ratios, (25, 50, 75))
    if name == NONE:
        low = median = high = 1.0
    return {
        "step": float(median),
        "quartiles": [float(low), float(high)],
        "seconds": seconds,
        "memory": memory,
        "batch": images,
        "device": device(),
        "backend": keras.backend.backend(),
    }


def _step(name, frame, recipe, classes, images):
    keras.utils.set_random_seed(0)
    _, model = runs.build(recipe, frame, name, classes)
    models.compile_model(model, recipe, steps_per_epoch=1000)
    random = np.random.default_rng(0)
    size = (images, recipe.image_size, recipe.image_size, 3)
    x = random.integers(0, 256, size).astype("float32")
    y = np.eye(classes, dtype="float32")[random.integers(classes, size=images)]
    return lambda: model.train_on_batch(x, y)


def ratios_of(pair, repeats, clock=time.perf_counter):
    """Times two functions in turns.

    Args:
        pair: Two functions without arguments.
        repeats: Integer, how many ratios are taken.
        clock: Function that returns the time in seconds, such as
            `time.process_time` for that of the processor.

    Returns:
        List of the ratios of the time of the first to that of the second,
        and the median of the seconds of the first.

    Example:

    >>> ratios, seconds = ratios_of((lambda: None, lambda: None), 3)
    >>> len(ratios)
    3
    """
    for run in pair:
        run()
    ratios, firsts = [], []
    for i in range(repeats):
        seconds = [0.0, 0.0]
        # Every other pair backwards, so that neither always comes first.
        for which in (0, 1) if i % 2 == 0 else (1, 0):
            start = clock()
            pair[which]()
            seconds[which] = clock() - start
        ratios.append(seconds[0] / seconds[1])
        firsts.append(seconds[0])
    return ratios, float(np.median(firsts))


def largest_size():
    """Returns the bytes that the process has had resident at most.

    `None` where the system does not say it.
    """
    try:
        # Linux counts for `ru_maxrss` what the process was started from.
        with open("/proc/self/status", encoding="ascii") as file:
            sizes = dict(line.split(":", 1) for line in file)
        return int(sizes["VmHWM"].removesuffix("kB\n")) * 1024
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _gpu_memory():
    """Bytes that TensorFlow has had on the first GPU at most, or `None`."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        return None
    return tf.config.experimental.get_memory_info("GPU:0")["peak"]


def device():
    """Returns the name of the processor, or of TensorFlow's first GPU."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            return tf.config.experimental.get_device_details(gpu)["device_name"]
    return processor_name()


def main():
    """Measures what stands on the standard input, and prints it."""
    name, frame, kind, recipe, classes = json.load(sys.stdin)
    frame = Frame(frame[0], tuple(frame[1]), tuple(frame[2]))
    recipe = getattr(training, kind).from_json(recipe)
    print(json.dumps(measure(name, frame, recipe, classes)))


if __name__ == "__main__":
    main()
