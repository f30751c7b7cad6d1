"""Runs train_coco.py with a tiny backbone, on some logical CPUs.

    python tiny_train_coco.py DEVICES [OPTION ...]

Of 0 devices there is one, which samples at random. Where TF_CONFIG names
several workers each of them has the devices.
"""

import functools
import os
import pathlib
import runpy
import sys

import keras
import tensorflow as tf

from keras_epsanet import EPSANetBackbone, training
from keras_epsanet.detection import from_recipe, subsampler

SCRIPT = pathlib.Path(__file__).parents[2] / "examples/train_coco.py"


def from_variant(name, **options):
    return EPSANetBackbone(
        (1, 1, 1, 1),
        (16, 16, 16, 16),
        (3, 5, 7, 9),
        (1, 4, 4, 4),
        reduction=4,
        **options,
    )


def same_keys(shape, seed):
    """Of every image the same, whichever device has it."""
    keys = keras.ops.arange(shape[1], dtype="float32") * 0.618034 % 1
    return keras.ops.broadcast_to(keys, shape)


def use_devices(number):
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        number * [tf.config.LogicalDeviceConfiguration()],
    )
    make_strategy = training.make_strategy
    names = [f"CPU:{i}" for i in range(number)]
    if "TF_CONFIG" not in os.environ:
        training.make_strategy = lambda: make_strategy(names)
    subsampler.random_keys = same_keys
    # So that what is found hardly depends on how well it is known.
    from_recipe.RetinaNet = functools.partial(
        from_recipe.RetinaNet, confidence_threshold=0.0
    )


def main():
    number, *options = sys.argv[1:]
    if int(number):
        use_devices(int(number))
    EPSANetBackbone.from_variant = staticmethod(from_variant)
    sys.argv = [str(SCRIPT), *options]
    runpy.run_path(str(SCRIPT), run_name="__main__")


if __name__ == "__main__":
    main()
