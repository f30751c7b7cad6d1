"""What several workers tell one another besides their gradients.

All functions are called by all workers at the same time, and wait for them.
"""

import functools
import json
import zlib

import numpy as np

from keras_epsanet.distribution.replicas import (
    num_replicas,
    sum_over_replicas,
    worker,
)


def gather_objects(value, strategy):
    """Gives all workers what each of them has.

    Args:
        value: What JSON holds: numbers, strings, lists, dictionaries. It may
            be large.
        strategy: What `keras_epsanet.distribution.make_strategy` returned.

    Returns:
        List of the values in the order of the workers, on each of them.

    Example:

    >>> from keras_epsanet.distribution import make_strategy
    >>> gather_objects({"a": 1}, make_strategy())
    [{'a': 1}]
    """
    number, workers = worker(strategy)
    if workers == 1:
        return [value]
    devices = num_replicas(strategy) // workers
    contents = zlib.compress(json.dumps(value).encode())
    lengths = _gather(strategy, lambda place: [len(contents)])[::devices, 0]
    # Each device sends a part, of one size on all, in words that all
    # collectives know.
    words = -(-max(lengths) // (8 * devices))
    padded = contents.ljust(8 * words * devices, b"\0")
    parts = np.frombuffer(padded, "int64").reshape(devices, words)
    gathered = _gather(strategy, lambda place: parts[place % devices])
    return [
        json.loads(zlib.decompress(row.tobytes()[:length]))
        for row, length in zip(gathered.reshape(workers, -1), lengths)
    ]


def from_chief(make, strategy):
    """Computes something once, in the first worker, for all of them.

    Args:
        make: Function without arguments that returns what JSON holds.
        strategy: What `keras_epsanet.distribution.make_strategy` returned.

    Returns:
        What it returned in the first worker.

    Raises:
        RuntimeError: In the other workers, if it raised an error.

    Example:

    >>> from keras_epsanet.distribution import make_strategy
    >>> from_chief(lambda: 0.5, make_strategy())
    0.5
    """
    if worker(strategy)[0]:
        return _of_chief(strategy)
    return _as_chief(make, strategy, lambda made: made)


def chief_first(make, strategy):
    """Lets the first worker write files before the others look for them.

    Args:
        make: Function without arguments that writes what is not there yet.
        strategy: What `keras_epsanet.distribution.make_strategy` returned.

    Returns:
        What it returned in this worker.

    Raises:
        RuntimeError: In the other workers, if it raised an error in the
            first one.

    Example:

    >>> from keras_epsanet.distribution import make_strategy
    >>> chief_first(lambda: "written", make_strategy())
    'written'
    """
    if worker(strategy)[0]:
        _of_chief(strategy)
        return make()
    return _as_chief(make, strategy, lambda made: None)


def wait_for_all(strategy):
    """Waits until all workers are here.

    One that ends before the others is taken for one that has failed.

    Args:
        strategy: What `keras_epsanet.distribution.make_strategy` returned.
    """
    gather_objects(None, strategy)


def _as_chief(make, strategy, message):
    try:
        made = make()
    except Exception as error:
        # The others, who wait for it, end with the same words.
        gather_objects({"error": str(error)}, strategy)
        raise
    gather_objects({"made": message(made)}, strategy)
    return made


def _of_chief(strategy):
    message = gather_objects(None, strategy)[0]
    if "error" in message:
        raise RuntimeError(message["error"])
    return message["made"]


def _gather(strategy, make):
    """A row of integers of each device, of as many on all, in their order."""
    import tensorflow as tf

    def place(context):
        # Added up, which does not trace anew each time as `gather` does.
        number = context.replica_id_in_sync_group
        row = np.asarray(make(number), "int64")
        rows = np.zeros((num_replicas(strategy), len(row)), "int64")
        rows[number] = row
        return tf.constant(rows)

    values = strategy.experimental_distribute_values_from_function(place)
    return _adder(strategy)(values).numpy()


@functools.lru_cache(maxsize=1)
def _adder(strategy):
    """Function that adds up what all devices have."""
    import tensorflow as tf

    def add_own(rows):
        # The argument alone would be on no device.
        return sum_over_replicas([tf.identity(rows)])[0]

    @tf.function(reduce_retracing=True)
    def add(values):
        return strategy.run(add_own, args=(values,))

    return lambda values: strategy.experimental_local_results(add(values))[0]
