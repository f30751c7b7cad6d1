"""One run of a comparison: a network trained with a seed, to the end."""

import csv
import dataclasses
import os
import time

import keras

from keras_epsanet import storage, training
from keras_epsanet.classification.comparison.networks import build_network
from keras_epsanet.classification.imagenet import models
from keras_epsanet.training.run_folder import FOLDER


def recipe_of(recipe, frame, name, seed):
    """Returns the recipe of one run.

    Args:
        recipe: Recipe of the comparison.
        frame: `Frame`.
        name: String, name of the attention.
        seed: Integer.
    """
    model = f"{frame.model}_{name}"
    return dataclasses.replace(recipe, model=model, seed=seed)


def build(recipe, frame, name, classes):
    """Builds the network of a run, and a model of it that takes bytes.

    Args:
        recipe: Recipe of the run.
        frame: `Frame`.
        name: String, name of the attention.
        classes: Integer.

    Returns:
        The network and the model, which share their weights.
    """
    network = build_network(
        name,
        frame,
        recipe.image_size,
        classes,
        synchronized=training.synchronized(recipe),
        dtype=recipe.precision,
    )
    return network, models.from_bytes(network, recipe)


def start(path, recipe, frame, name, source, strategy):
    """Builds the network of a run, and restores it if the run was begun.

    Args:
        path: Folder of the run. It is made if need be.
        recipe: Recipe of the run.
        frame: `Frame`.
        name: String, name of the attention.
        source: What `sources.open_source` returned.
        strategy: `tf.distribute.Strategy`.

    Returns:
        The network, the compiled model of it, the `RunFolder`, the model's
        `WeightAverage` or `None`, and the `State`.

    Raises:
        ValueError: If the folder is in use.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(recipe.seed)
    steps = source.steps_per_epoch(recipe)
    with strategy.scope():
        network, model = build(recipe, frame, name, len(source.class_names))
        models.compile_model(model, recipe, steps)
        run = training.RunFolder(path, recipe, keep=1)
        average = training.make_average(model, recipe)
        state = run.restore(model, steps, average=average)
    return network, model, run, average, state


def train(started, source, strategy, interruption, checkpoint_steps):
    """Trains to the last epoch, whose accuracy is the result.

    It is not the best epoch's, which the held-out images would choose.

    Args:
        started: What `start` returned.
        source: What `sources.open_source` returned.
        strategy: `tf.distribute.Strategy`.
        interruption: `Interruption`.
        checkpoint_steps: Integer, steps from one checkpoint to the next.

    Returns:
        Dictionary of the accuracy and the loss on the held-out images, the
        epochs and the seconds since the start or the last interruption.

    Raises:
        SystemExit: If `interruption` is requested, after it was saved.
        FloatingPointError: If the loss or a weight is not finite.
    """
    network, model, run, average, state = started
    begin = time.time()
    try:
        source.fit(
            model, average, strategy, run, state, interruption, checkpoint_steps
        )
    except FloatingPointError as error:
        raise FloatingPointError(f"{run.path}: {error}") from error
    if average:
        average.swap_in()
    main = keras.Model(network.inputs, network.outputs[0])
    run.export(main, "last.weights.h5")
    with storage.open_file(f"{run.path}/log.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    return {
        "top1": float(last["val_top1"]),
        "loss": float(last["val_loss"]),
        "epochs": state.epoch,
        "seconds": round(time.time() - begin),
        "seed": run.recipe.seed,
    }


def remove_checkpoints(path):
    """Removes what a finished run could go on from.

    Args:
        path: Folder of the run.
    """
    storage.rmtree(os.path.join(path, FOLDER), ignore_errors=True)
