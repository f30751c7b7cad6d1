"""Trains a small network on a number of devices.

    python train_on_any_number.py OUTPUT NETWORK DEVICES

NETWORK is epsanet or mask_rcnn. The devices are logical CPUs, of each of the
workers or processes that the environment names, if there are any. The output is
an `.npz` file with the losses and the weights.
"""

import os
import sys

os.environ["XLA_FLAGS"] = (  # JAX's number of logical CPUs.
    os.environ.get("XLA_FLAGS", "")
    + f" --xla_force_host_platform_device_count={sys.argv[3]}"
)

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from keras_epsanet import EPSANet, EPSANetBackbone  # noqa: E402
from keras_epsanet.detection import MaskRCNN  # noqa: E402
from keras_epsanet.distribution import (  # noqa: E402
    is_chief,
    make_strategy,
    num_replicas,
)
from keras_epsanet.training import SGDL2  # noqa: E402

# Of a detector one, after which roundings decide whether a proposal overlaps
# another one or an object just enough, and so which of them is sampled.
STEPS = {"epsanet": 20, "mask_rcnn": 1}
BATCH = 8
PSA = ((3, 5, 7, 9), (1, 4, 4, 4))
TENSORFLOW = keras.backend.backend() == "tensorflow"
# On JAX a BatchNorm sees the whole batch, wherever its parts are.
NORM = {"synchronized": TENSORFLOW}


def use_cpus(number):
    """Makes logical CPUs, of which workers use all, as they use all GPUs."""
    from tensorflow.python.distribute import collective_all_reduce_strategy

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        number * [tf.config.LogicalDeviceConfiguration()],
    )
    cls = collective_all_reduce_strategy.CollectiveAllReduceExtended

    def local_devices(self, resolver, worker):
        return tuple(f"{worker}/device:CPU:{i}" for i in range(number)), "CPU"

    cls._initialize_local_devices = local_devices


def make_epsanet():
    network = EPSANet(
        (1, 1, 1, 1),
        (16, 16, 32, 32),
        *PSA,
        reduction=4,
        input_shape=(64, 64, 3),
        classes=5,
        **NORM,
    )
    random = np.random.default_rng(0)
    labels = random.integers(0, 5, STEPS["epsanet"] * BATCH)
    # Colors that can be learned: with noise alone the roundings would grow.
    colors = 3 * np.eye(5, 3)[labels][:, None, None]
    x = random.normal(size=(len(labels), 64, 64, 3)) + colors
    x, y = x.astype("float32"), np.eye(5, dtype="float32")[labels]
    return network, (x, y), {"loss": "categorical_crossentropy"}


def make_mask_rcnn():
    backbone = EPSANetBackbone(
        (1, 1, 1, 1),
        (16, 16, 16, 16),
        *PSA,
        reduction=4,
        **NORM,
    )
    detector = MaskRCNN(backbone, 3, num_samples=16, seed=0)
    random = np.random.default_rng(0)
    number = STEPS["mask_rcnn"] * BATCH
    corners = random.uniform(0, 30, (number, 3, 2))
    sizes = random.uniform(8, 34, (number, 3, 2))
    boxes = np.concatenate((corners, corners + sizes), -1)
    labels = random.integers(0, 3, (number, 3))
    labels[::3, 1:] = -1
    boxes[labels < 0] = -1
    y, x = np.mgrid[:64, :64] + 0.5
    x1, y1, x2, y2 = np.moveaxis(boxes, -1, 0)[..., None, None]
    masks = (x1 < x) & (x < x2) & (y1 < y) & (y < y2)
    colors = np.where((labels < 0)[..., None], 0, 3 * np.eye(3)[labels])
    images = np.einsum("nkhw,nkc->nhwc", masks, colors)
    images += random.normal(size=images.shape)
    data = {
        "images": images.astype("float32"),
        "boxes": boxes.astype("float32"),
        "labels": labels.astype("int32"),
        "masks": masks.astype("uint8"),
    }
    return detector, data, {}


def main():
    output, network, devices = sys.argv[1:]
    if TENSORFLOW:
        use_cpus(int(devices))
    strategy = make_strategy()
    # In which the roundings of 20 steps do not grow to what can be seen. A
    # detector's heads are in float32 all the same.
    if keras.backend.backend() == "jax":
        from keras.src.backend.common import dtypes

        # What Keras computes in where float64 meets another type on JAX.
        dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"
    keras.config.set_floatx("float64")
    keras.utils.set_random_seed(0)
    make = {"epsanet": make_epsanet, "mask_rcnn": make_mask_rcnn}[network]
    with strategy.scope():
        model, data, losses = make()
        model.compile(SGDL2(2e-3, momentum=0.9, l2=1e-4), **losses)
    history = {}

    class Losses(keras.callbacks.Callback):
        """Of each step, for Keras logs their mean."""

        def on_train_batch_end(self, batch, logs=None):
            for name, value in logs.items():
                history.setdefault(name, []).append(float(value))

    batches = tf.data.Dataset.from_tensor_slices(data).batch(BATCH)
    model.fit(batches, verbose=0, shuffle=False, callbacks=[Losses()])
    np.savez(
        output,
        replicas=num_replicas(strategy),
        is_chief=is_chief(strategy),
        **{f"loss:{name}": value for name, value in history.items()},
        **{
            w.path.replace("/", "."): keras.ops.convert_to_numpy(w)
            for w in model.weights
        },
    )


if __name__ == "__main__":
    main()
