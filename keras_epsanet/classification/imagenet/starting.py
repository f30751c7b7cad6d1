"""What a training on ImageNet starts with: anew, or from its run folder."""

from keras_epsanet import training
from keras_epsanet.classification.imagenet import models
from keras_epsanet.data import imagenet
from keras_epsanet.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from keras_epsanet.training import trained_start


def start(path, recipe, source, inherit, strategy, steps_per_epoch):
    """Builds a network, and restores it if its training goes on.

    Args:
        path: Folder of the training. It is made if need be.
        recipe: `ImageNetRecipe`.
        source: What `keras_epsanet.data.imagenet.open_source` returned.
        inherit: What `inherit_weights` takes as its source, or `None`. A
            training that goes on has its weights in its checkpoints.
        strategy: What `keras_epsanet.distribution.make_strategy` returned.
        steps_per_epoch: Integer.

    Returns:
        The network, the compiled model of it, `RunFolder`, the model's
        `WeightAverage` or `None`, and `State`.

    Raises:
        OSError, ValueError: If a ResNet to start or to learn from cannot be
            read or does not fit, or a checkpoint is of another training.
    """
    is_chief = training.is_chief(strategy)
    with strategy.scope():
        network, model = models.build_model(recipe, len(source.class_names))
    inherited = None
    if inherit is not None and not training.has_checkpoints(path):
        inherited = _inherit(network, inherit, source, recipe, is_chief)
    with strategy.scope():
        model = models.with_teacher(network, model, recipe)
        models.compile_model(model, recipe, steps_per_epoch)
        # Nothing that a wrong option leaves behind is in the way of the next.
        run = training.RunFolder(path, recipe, is_chief=is_chief)
        if inherited is not None:
            trained_start.note_start(run, inherit, inherited)
        average = training.make_average(model, recipe)
        state = run.restore(model, steps_per_epoch, average=average)
    training.check_same_step(path, state, strategy)
    return network, model, run, average, state


def _inherit(network, source, data, recipe, verbose):
    """Starts a network from a ResNet, fitted to some training images."""
    import tensorflow as tf

    batches = imagenet.training_batches(
        data,
        recipe.step_batch_size,
        image_size=recipe.image_size,
        seed=recipe.seed,
        antialias=recipe.antialias,
    )

    def normalize(images, labels):
        # In TensorFlow's terms: Keras' are those of the backend.
        images = tf.cast(images, "float32")
        return (images / 255 - IMAGENET_MEAN) / IMAGENET_STD

    images = batches.map(normalize)
    size = recipe.image_size
    return trained_start.inherit(
        network, source, images.unbatch(), recipe, size, verbose
    )
