"""A small model and its checkpoints, shared by the tests of this folder."""

import keras
import numpy as np
from keras import ops

from keras_epsanet.training import (
    SGDL2,
    State,
)

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
Y = np.eye(3)[np.arange(8) % 3]


def make_model(width=6, **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(width),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(
        SGDL2(0.1, **options),
        "categorical_crossentropy",
        run_eagerly=keras.backend.backend() == "tensorflow",
    )
    return model


def train(model, steps=1):
    for _ in range(steps):
        model.train_on_batch(X, Y)
    return model


def save(run, model, *steps, **state):
    for step in steps:
        run.save(model, State(step=step, steps_per_epoch=10, **state))


def values(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [np.copy(ops.convert_to_numpy(v)) for v in variables]


def checkpoint(tmp_path, step):
    return tmp_path / "run/checkpoints" / f"step-{step:08d}"
