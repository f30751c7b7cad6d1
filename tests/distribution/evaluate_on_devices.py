"""Evaluates 13 images on one, two and three devices, for the tests.

    python evaluate_on_devices.py OUTPUT

where, for JAX, XLA_FLAGS is `--xla_force_host_platform_device_count=3`.
The output is JSON: lists of loss and accuracy by number of devices and batch
size, and the distance of predictions from those of one device.
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

from keras_epsanet.distribution import pad_to_devices, predict
from keras_epsanet.training import make_strategy

IMAGES = 13
# By number of devices.
BATCH_SIZES = {1: (4,), 2: (5,), 3: (4, 16)}


def main():
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        3 * [tf.config.LogicalDeviceConfiguration()],
    )
    random = np.random.default_rng(0)
    images = random.normal(size=(IMAGES, 8, 8, 3)).astype("float32")
    labels = random.integers(0, 3, IMAGES)
    weights = np.ones(IMAGES, "float32")
    weights[6] = 0  # As of an image that could not be decoded.
    name = "CPU" if keras.backend.backend() == "tensorflow" else "cpu"
    results = {}
    for number, sizes in BATCH_SIZES.items():
        strategy = make_strategy([f"{name}:{i}" for i in range(number)])
        with strategy.scope():
            model = make_model()
        for size in sizes:
            results[f"{number}/{size}"] = evaluate(
                model, strategy, size, images, labels, weights
            )
        batches = tf.data.Dataset.from_tensor_slices(images).batch(4)
        found = predict(model, batches, strategy)
        if number == 1:
            one = found
        results[f"predictions/{number}"] = (
            len(found),
            float(np.abs(found - one).max()),
        )
        if number == 2 and name == "CPU":
            # Keras' own way with a batch that does not divide: 7 and 6.
            uneven = dataset_of(13, images, labels)
            results["uneven"] = model.evaluate(uneven, verbose=0)
            results["all"] = expected(one, labels, np.ones(IMAGES))
        if number == 3:
            # Fewer images than devices.
            few = pad_to_devices(batches.take(1).map(lambda x: x[:1]), strategy)
            results["few"] = len(model.predict(few, verbose=0))
    results["expected"] = expected(one, labels, weights)
    with open(sys.argv[1], "w") as file:
        json.dump(results, file)


def make_model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, strides=2),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(
        "sgd",
        loss="sparse_categorical_crossentropy",
        weighted_metrics=["accuracy"],
    )
    return model


def dataset_of(size, *arrays):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(size)


def evaluate(model, strategy, size, *arrays):
    batches = pad_to_devices(dataset_of(size, *arrays), strategy)
    return model.evaluate(batches, verbose=0)


def expected(probabilities, labels, weights):
    """Loss and accuracy, image by image."""
    loss = right = 0
    for p, label, weight in zip(probabilities, labels, weights):
        loss -= weight * np.log(p[label])
        right += weight * (p.argmax() == label)
    return [float(x / weights.sum()) for x in (loss, right)]


if __name__ == "__main__":
    main()
