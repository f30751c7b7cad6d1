"""Trains a detector on two logical CPUs and on one, to compare.

python train_on_devices.py DETECTOR OUTPUT
"""

import sys

import keras
import numpy as np
import tensorflow as tf

from keras_epsanet import EPSANetBackbone, detection
from keras_epsanet.detection import subsampler
from keras_epsanet.training import SGDL2

STEPS = 3


def make_data():
    """Four images each; all objects of a batch may be on one device."""
    random = np.random.default_rng(0)
    number = 4 * STEPS
    corners = random.uniform(0, 30, (number, 3, 2))
    sizes = random.uniform(8, 34, (number, 3, 2))
    boxes = np.concatenate((corners, corners + sizes), -1)
    labels = random.integers(0, 3, (number, 3))
    labels[:2] = labels[5, 1:] = -1
    boxes[labels < 0] = -1
    y, x = np.mgrid[:64, :64] + 0.5
    x1, y1, x2, y2 = np.moveaxis(boxes, -1, 0)[..., None, None]
    return {
        "images": random.normal(size=(number, 64, 64, 3)).astype("float32"),
        "boxes": boxes.astype("float32"),
        "labels": labels.astype("int32"),
        "masks": ((x1 < x) & (x < x2) & (y1 < y) & (y < y2)).astype("uint8"),
    }


def same_keys(shape, seed):
    """Of every image the same, whichever device has it."""
    keys = keras.ops.arange(shape[1], dtype="float32") * 0.618034 % 1
    return keras.ops.broadcast_to(keys, shape)


def train(strategy, detector):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        backbone = EPSANetBackbone(
            (1, 1, 1, 1),
            (16, 16, 16, 16),
            (3, 5, 7, 9),
            (1, 4, 4, 4),
            reduction=4,
            freeze_stages=1,
            norm_eval=True,
        )
        model = getattr(detection, detector)(backbone, 3)
        model.compile(SGDL2(0.01, momentum=0.9, l2=1e-4, global_clipnorm=35))
    data = tf.data.Dataset.from_tensor_slices(make_data()).batch(4)
    if detector != "RetinaNet":
        # Rounding decides which proposals are sampled in later steps.
        data = data.take(1)
    # Before the weights differ by rounding, which decides about proposals too.
    found = model.evaluate(data, verbose=0, return_dict=True)
    logs = {f"val_{name}": value for name, value in found.items()}
    logs |= model.fit(data, verbose=0).history
    weights = {
        variable.path: variable.numpy()
        for variable in model.trainable_variables
    }
    return {**logs, **weights}


def main():
    subsampler.random_keys = same_keys
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        2 * [tf.config.LogicalDeviceConfiguration()],
    )
    strategies = {
        "two": tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
        "one": tf.distribute.get_strategy(),
    }
    np.savez(
        sys.argv[2],
        **{
            f"{name}:{key}": value
            for name, strategy in strategies.items()
            for key, value in train(strategy, sys.argv[1]).items()
        },
    )


if __name__ == "__main__":
    main()
