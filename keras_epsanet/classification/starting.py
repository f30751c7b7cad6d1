"""What a classifier's training starts with: anew, or from its run folder."""

from typing import NamedTuple

import keras

from keras_epsanet import training
from keras_epsanet.classification import batches, fitting, models, run_folder
from keras_epsanet.distribution import check_batch_size
from keras_epsanet.distribution.cluster import check_one_process
from keras_epsanet.training import trained_start


class Started(NamedTuple):
    """A training that can go on.

    Attributes:
        classifier: What `build_classifier` returned.
        model: What `compile_trained_part` returned.
        run: `RunFolder`.
        average: `WeightAverage` of the model, or `None`.
        state: `State`, which the training keeps up to date.
        goes_on: Whether the folder held checkpoints, so that the weights
            that were given are not read.
    """

    classifier: keras.Model
    model: keras.Model
    run: training.RunFolder
    average: object
    state: training.State
    goes_on: bool


def make_strategy():
    """Takes all devices of this machine, on TensorFlow.

    Returns:
        `tf.distribute.Strategy`.

    Raises:
        ValueError: If the environment names several workers.
    """
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        return tf.distribute.get_strategy()
    check_one_process("A classifier")
    return training.make_strategy()


def start(path, recipe, images, weights, inherit, strategy):
    """Builds a classifier, and restores it if its training goes on.

    Args:
        path: Folder of the training. It is made if need be.
        recipe: `ClassifierRecipe`.
        images: `Images`.
        weights: Path of trained weights, or `None`. A training that goes on
            has its weights in its checkpoints.
        inherit: What `inherit_weights` takes as its source, or `None`.
        strategy: What `make_strategy` returned.

    Returns:
        `Started`.

    Raises:
        ValueError: If the weights do not fit, the devices cannot share a
            batch, or the folder belongs to another training.
    """
    check_batch_size(recipe.step_batch_size, strategy)
    steps = batches.steps_per_epoch(images.train, recipe)
    goes_on = training.has_checkpoints(path)
    if goes_on:
        weights = None
    with strategy.scope():
        classifier = models.build_classifier(
            recipe, images.class_names, weights
        )
    inherited = None
    if inherit is not None and not goes_on:
        inherited = _inherit(classifier, inherit, images.train, recipe)
    with strategy.scope():
        model = models.compile_trained_part(classifier, recipe, steps)
        run = run_folder.open_run(path, recipe)
        if inherited is not None:
            trained_start.note_start(run, inherit, inherited)
        average = training.make_average(model, recipe)
        state = run.restore(model, steps, average=average)
    run_folder.note_images(run, images)
    return Started(classifier, model, run, average, state, goes_on)


def _inherit(classifier, source, dataset, recipe):
    """Starts a classifier from a ResNet, fitted to some of its images."""
    shown = batches.evaluation_batches(dataset, recipe).unbatch()
    images = shown.map(lambda image, label: image)
    size = recipe.image_size
    return trained_start.inherit(classifier, source, images, recipe, size)


def take_best(started, dataset, evaluation, strategy):
    """Gives a classifier that was trained the weights of its best epoch.

    Args:
        started: `Started`, after the training.
        dataset: Dataset that it was trained with.
        evaluation: Batches of the held-out images.
        strategy: What `make_strategy` returned.
    """
    _, model, run, average, state, _ = started
    with strategy.scope():
        fitting.restore_best(model, average, run, state)
        if state.best_value is None:
            # Its checkpoint was damaged: the last one is what is left.
            fitting.note_best(model, state, evaluation)
        fitting.recalibrate(model, dataset, run.recipe, state, evaluation)
