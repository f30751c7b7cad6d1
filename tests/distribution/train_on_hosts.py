"""Trains on all processes that the environment names, on JAX.

    python train_on_hosts.py OUTPUT

The output is an `.npz` file with the weights and the loss.
"""

import sys

import keras
import numpy as np
import tensorflow as tf

from keras_epsanet.distribution import is_chief, make_strategy, num_replicas
from keras_epsanet.training import SGDL2


def main():
    strategy = make_strategy()
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.Sequential(
            [
                keras.Input((4,)),
                keras.layers.Dense(3),
                keras.layers.BatchNormalization(),
                keras.layers.Dense(2),
            ]
        )
        model.compile(SGDL2(0.1, momentum=0.9, global_clipnorm=0.5), "mse")
    random = np.random.default_rng(0)
    x, y = random.normal(size=(80, 4)), random.normal(size=(80, 2))
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    loss = model.fit(batches, verbose=0).history["loss"]
    arrays = {w.path: np.array(w) for w in model.weights}
    np.savez(
        sys.argv[1],
        replicas=num_replicas(strategy),
        is_chief=is_chief(strategy),
        loss=loss,
        **{path.replace("/", "."): array for path, array in arrays.items()},
    )


if __name__ == "__main__":
    main()
