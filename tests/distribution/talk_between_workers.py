"""What workers of TF_CONFIG tell one another, for the tests.

    python talk_between_workers.py OUTPUT

Each has two logical CPUs. The output is JSON.
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

from keras_epsanet.distribution import make_strategy, predict
from keras_epsanet.distribution.replicas import worker
from keras_epsanet.distribution.workers import (
    chief_first,
    from_chief,
    gather_objects,
)


def fail():
    raise OSError("the disk is full")


def note_error(function, *arguments):
    try:
        return function(*arguments)
    except Exception as error:
        return [type(error).__name__, str(error)]


def main():
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        2 * [tf.config.LogicalDeviceConfiguration()],
    )
    strategy = make_strategy()
    number, _ = worker(strategy)
    calls = []

    def make():
        calls.append(number)
        return number

    # Of other lengths, and more than a few times.
    mine = [{"name": "ä" * 50 * number, "value": 0.1 + number, "none": None}]
    results = {
        "gathered": [gather_objects(mine, strategy) for _ in range(7)],
        "long": len(gather_objects(list(range(10**5 * number)), strategy)[1]),
        "from_chief": from_chief(make, strategy),
        "calls": list(calls),
        "chief_first": chief_first(make, strategy),
        "failed": [
            note_error(from_chief, fail, strategy),
            note_error(chief_first, fail, strategy),
        ],
        "nan": gather_objects(float("nan"), strategy)[0],
    }
    with strategy.scope():
        model = keras.Sequential(
            [
                keras.Input((1,)),
                keras.layers.Dense(1, kernel_initializer="ones"),
            ]
        )
    # Each worker other images, and other numbers of them.
    images = 10.0 * number + np.arange(3 + 4 * number)[:, None]
    found = predict(model, images.astype("float32"), batch_size=3)
    results["predicted"] = found[:, 0].tolist()
    with open(sys.argv[1], "w") as file:
        json.dump(results, file)
    gather_objects(None, strategy)


if __name__ == "__main__":
    main()
