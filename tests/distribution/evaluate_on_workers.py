"""Evaluates 13 images on the workers of TF_CONFIG, for the tests.

    python evaluate_on_workers.py OUTPUT

The output is JSON: loss and accuracy, those of a plain loop, and which images
this worker read.
"""

import json
import sys

import evaluate_on_devices
import numpy as np
import tensorflow as tf

from keras_epsanet.distribution import divide_batches
from keras_epsanet.training import make_strategy


def main():
    strategy = make_strategy()
    random = np.random.default_rng(0)
    images = random.normal(size=(13, 8, 8, 3)).astype("float32")
    labels = random.integers(0, 3, 13)
    with strategy.scope():
        model = evaluate_on_devices.make_model()
    read = []

    def make_batches(shard):
        worker, workers = shard
        places = np.arange(13)[worker::workers]

        def load(place):
            read.append(int(place))
            return images[place], labels[place]

        def prepare(place):
            image, label = tf.numpy_function(
                load, [place], ["float32", "int64"]
            )
            return tf.ensure_shape(image, (8, 8, 3)), tf.reshape(label, ())

        # Of 7 and 6 images: 4 batches and 3.
        return tf.data.Dataset.from_tensor_slices(places).map(prepare).batch(2)

    batches = divide_batches(make_batches, strategy)
    results = {
        "found": model.evaluate(batches, verbose=0),
        "read": sorted(set(read)),
        "expected": evaluate_on_devices.expected(
            model(images, training=False).numpy(), labels, np.ones(13)
        ),
    }
    with open(sys.argv[1], "w") as file:
        json.dump(results, file)


if __name__ == "__main__":
    main()
