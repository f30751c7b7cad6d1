"""Networks for ImageNet, from bytes to logits."""

import keras

from keras_epsanet import training
from keras_epsanet.classification import distillation
from keras_epsanet.classification.branched import BranchedClassifier
from keras_epsanet.classification.models import (
    MODELS,
    backbone_variables,
    freeze_backbone,
    metrics,
)
from keras_epsanet.models.preprocessing import rescale
from keras_epsanet.training.trained_start import errors_of


def build_model(recipe, classes):
    """Builds a network and a model of it that takes images of bytes.

    Args:
        recipe: `ImageNetRecipe`.
        classes: Integer.

    Returns:
        The network, for normalized images, and a `keras.Model` from RGB
        images from 0 to 255, `(N, image_size, image_size, 3)`, to logits,
        float32 `(N, classes)`. They share their weights.

    Example:

    >>> from keras_epsanet.training import ImageNetRecipe
    >>> recipe = ImageNetRecipe(model="tiny", image_size=32)
    >>> network, model = build_model(recipe, classes=10)
    >>> model.output_shape
    (None, 10)
    """
    size = recipe.image_size
    network = MODELS[recipe.model](
        input_shape=(size, size, 3),
        classes=classes,
        classifier_activation=None,
        synchronized=training.synchronized(recipe),
        dtype=recipe.precision,
    )
    if recipe.freeze:
        freeze_backbone(network)
    return network, from_bytes(network, recipe)


def from_bytes(network, recipe):
    """Makes the model of a network that takes images of bytes.

    Args:
        network: `keras.Model` from normalized images to logits, or, with an
            attention branch, to a list of those and the branch's.
        recipe: `ImageNetRecipe` or `ClassifierRecipe`.

    Returns:
        `keras.Model` from RGB images from 0 to 255 to logits, float32; with
        a branch a `BranchedClassifier`.
    """
    size = recipe.image_size
    image = keras.Input((size, size, 3), name="image")
    # Loss and metrics are computed in float32 whatever the network is in.
    logits = keras.tree.map_structure(
        keras.layers.Activation("linear", dtype="float32"),
        network(rescale(image, "channels_last")),
    )
    kind = BranchedClassifier if isinstance(logits, list) else keras.Model
    return kind(image, logits, name=recipe.model)


def with_teacher(network, model, recipe):
    """Adds the teacher of a recipe, if it has one.

    Args:
        network, model: What `build_model` returned.
        recipe: `ImageNetRecipe`.

    Returns:
        The model, or a `keras.distillation.Distiller` of it.

    Raises:
        OSError, ValueError: If the teacher cannot be read, or has another
            depth, width or number of classes.
    """
    if recipe.teacher is None:
        return model
    with errors_of("--teacher", recipe.teacher):
        resnet = distillation.read_resnet_teacher(
            recipe.teacher, network, network.output_shape[-1]
        )
    return distillation.distilled(model, from_bytes(resnet, recipe), recipe)


def compile_model(model, recipe, steps_per_epoch):
    """Compiles a model as its recipe says.

    Args:
        model: What `build_model` returned.
        recipe: `ImageNetRecipe`.
        steps_per_epoch: Integer, as in `keras_epsanet.training.make_schedule`.
    """
    model.compile(
        optimizer=training.make_optimizer(
            recipe, steps_per_epoch, backbone_variables(model)
        ),
        loss=training.make_loss(recipe),
        weighted_metrics=metrics(),
    )
