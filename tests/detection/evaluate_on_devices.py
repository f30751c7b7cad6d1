"""Evaluates a detector on two logical CPUs and on one, to compare.

python evaluate_on_devices.py COCO OUTPUT
"""

import json
import sys

import keras
import tensorflow as tf

from keras_epsanet import EPSANetBackbone, detection
from keras_epsanet.data import coco
from keras_epsanet.detection.evaluation_folder import evaluate_images


def evaluate(strategy, annotations, folder, batch_size):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        backbone = EPSANetBackbone(
            (1, 1, 1, 1),
            (16, 16, 16, 16),
            (3, 5, 7, 9),
            (1, 4, 4, 4),
            reduction=4,
        )
        model = detection.RetinaNet(
            backbone,
            10,
            image_size=(64, 64),
            confidence_threshold=0.0,
            max_detections=3,
        )
    return evaluate_images(model, annotations, batch_size, folder)[0]


def main():
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        2 * [tf.config.LogicalDeviceConfiguration()],
    )
    data, output = sys.argv[1:]
    annotations = coco.Annotations(
        f"{data}/annotations/instances_val.json", f"{data}/val"
    )
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    one = tf.distribute.get_strategy()
    found = {
        "two": evaluate(two, annotations, f"{output}/two", 2),
        "one": evaluate(one, annotations, f"{output}/one", 1),
    }
    with open(f"{output}/found.json", "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main()
