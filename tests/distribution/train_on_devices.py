"""Trains on several devices and on one, for the tests to compare.

    python train_on_devices.py OUTPUT SCENARIO…

The devices are two logical CPUs, or the workers of TF_CONFIG or of Slurm. The
output is an `.npz` file with the weights of each scenario, on all devices and,
by the first worker, on one.
"""

import os
import sys

import keras
import numpy as np
import tensorflow as tf

import keras_epsanet
from keras_epsanet.layers import PSA, BatchNormalization, GroupedConv2D
from keras_epsanet.training import (
    SGDL2,
    LossScale,
    is_chief,
    make_strategy,
    num_replicas,
)

BATCH = 8
STEPS = 10
SIZE = 32  # Pixels, the smallest for EPSANet.
CLIPNORM = 0.5


def main():
    output, *names = sys.argv[1:]
    if not {"TF_CONFIG", "SLURM_STEP_NUM_TASKS"} & set(os.environ):
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            2 * [tf.config.LogicalDeviceConfiguration()],
        )
    strategies = {"all": make_strategy()}
    chief = is_chief(strategies["all"])
    if chief:
        strategies["one"] = tf.distribute.get_strategy()
    arrays = {"replicas": num_replicas(strategies["all"]), "is_chief": chief}
    for name in names:
        for devices, strategy in strategies.items():
            # Workers start from the weights of the first.
            keras.utils.set_random_seed(0 if chief else 1)
            for key, value in SCENARIOS[name](strategy).items():
                arrays[f"{name}/{devices}/{key}"] = value
    np.savez(output, **arrays)


def small_network(image):
    """Convolution and PSA with synchronised BatchNorms.

    Its activation is smooth: behind a ReLU one rounding can be the difference
    between a gradient and none.
    """
    activation = keras.layers.Activation("swish")
    x = keras.layers.Rescaling(1 / 64, -2)(image)
    x = GroupedConv2D(16, 3, strides=2)(x)
    x = activation(BatchNormalization(synchronized=True)(x))
    x = PSA(16, kernel_sizes=(3, 5), groups=(1, 4), reduction=4)(x)
    x = activation(BatchNormalization(synchronized=True)(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(5, activation="softmax")(x))


def epsanet50(image):
    x = keras.layers.Rescaling(1 / 64, -2)(image)
    return keras_epsanet.EPSANet50Small(
        input_tensor=x, classes=5, synchronized=True
    )


def classify(strategy, dtype, network=small_network, learning_rate=0.1):
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    with strategy.scope():
        model = network(keras.Input((SIZE, SIZE, 3), dtype="uint8"))
        model.compile(
            SGDL2(
                learning_rate,
                nesterov=True,
                l2=1e-2,
                global_clipnorm=CLIPNORM,
            ),
            keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
        )
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (BATCH * STEPS, SIZE, SIZE, 3), "uint8")
    y = np.eye(5)[random.integers(0, 5, len(x))]
    # As the tests make sure, it is above CLIPNORM.
    norm = gradient_norm(model, x[:BATCH], y[:BATCH])
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH)
    history = model.fit(batches, verbose=0).history
    return {"norm": norm, "loss": history["loss"], **weights_of(model)}


def gradient_norm(model, x, y):
    """Norm of the first step's gradient, from a copy that has no strategy."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    with tf.GradientTape() as tape:
        loss = model.loss(y, copy(x, training=True))
    gradients = tape.gradient(loss, copy.trainable_weights)
    return tf.linalg.global_norm(gradients).numpy()


def accumulate(strategy):
    """Updates with two batches each, and half an update at the end."""
    return dense(
        strategy,
        "float64",
        lambda optimizer: optimizer,
        gradient_accumulation_steps=2,
    )


def overflow(strategy):
    """Mixed float16 with an infinite input to the second device's part."""
    return dense(
        strategy,
        "mixed_float16",
        lambda optimizer: LossScale(optimizer, initial_scale=8.0),
        infinite=BATCH - 1,
    )


def dense(strategy, policy, wrap, infinite=None, **arguments):
    keras.config.set_floatx("float64" if policy == "float64" else "float32")
    keras.config.set_dtype_policy(policy)
    with strategy.scope():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        optimizer = wrap(SGDL2(0.1, global_clipnorm=CLIPNORM, **arguments))
        model.compile(optimizer, "mse", metrics=["mae"])
    random = np.random.default_rng(0)
    x = random.normal(size=(BATCH * (STEPS + 1), 4))
    y = 3 * random.normal(size=(len(x), 3))
    if infinite is not None:
        x[infinite] = np.inf
    dataset = tf.data.Dataset.from_tensor_slices((x, y))

    def part_of(context):
        """A worker's images, as a dataset that divides itself has them."""
        return dataset.shard(
            context.num_input_pipelines, context.input_pipeline_id
        ).batch(context.get_per_replica_batch_size(BATCH))

    history = model.fit(
        strategy.distribute_datasets_from_function(part_of),
        steps_per_epoch=STEPS + 1,
        validation_data=dataset.skip(BATCH).batch(BATCH),
        verbose=0,
    ).history
    logs = {"val_mae": history["val_mae"], "val_loss": history["val_loss"]}
    state = {
        f"state{i}": variable.numpy()
        for i, variable in enumerate(optimizer.variables)
    }
    return {**logs, **weights_of(model), **state}


def weights_of(model):
    return {f"weight{i}": w.numpy() for i, w in enumerate(model.weights)}


SCENARIOS = {
    "float64": lambda strategy: classify(strategy, "float64"),
    "float32": lambda strategy: classify(strategy, "float32"),
    # At the recipe's rate for such a batch; at a greater one its training
    # is unstable, and a rounding grows twentyfold with each step.
    "epsanet50": lambda strategy: classify(
        strategy, "float64", epsanet50, learning_rate=0.1 / 256 * BATCH
    ),
    "accumulate": accumulate,
    "overflow": overflow,
}

if __name__ == "__main__":
    main()
