"""Classifiers from the pixels of an image to the names of its classes."""

import keras

from keras_epsanet import training
from keras_epsanet.classification import distillation
from keras_epsanet.layers import ClassNames, Resizing
from keras_epsanet.models.epsanet import EPSANet
from keras_epsanet.models.preprocessing import rescale
from keras_epsanet.models.variants import VARIANTS
from keras_epsanet.training.trained_start import errors_of


def tiny(**kwargs):
    """A network that trains in seconds, to try things out."""
    return EPSANet((1, 1), (64, 128), (3, 5), (1, 4), **kwargs)


MODELS = {**VARIANTS, "tiny": tiny}


def build_classifier(recipe, class_names, weights=None):
    """Builds one model from the pixels to the names, so that a file holds all.

    Args:
        recipe: `ClassifierRecipe`.
        class_names: List of strings.
        weights: As for `keras_epsanet.EPSANet50Small`. If it is `None`, every
            block starts as its shortcut.

    Returns:
        A `keras.Model` from RGB images of any size with values from 0 to
        255, `(N, H, W, 3)`, to probabilities, float32 `(N, classes)`. Its
        last layer is `ClassNames`, its layer `logits` has what the
        probabilities are the softmax of.

    Raises:
        ValueError: If `weights` does not fit.

    Example:

    >>> from keras_epsanet.training import ClassifierRecipe
    >>> recipe = ClassifierRecipe(model="tiny", image_size=32)
    >>> model = build_classifier(recipe, ["cat", "dog"])
    >>> model.layers[-1].names
    ('cat', 'dog')
    """
    size = recipe.image_size
    image = keras.Input((None, None, 3), name="image", dtype="float32")
    # Pixels and probabilities are in float32 whatever the network is in.
    x = Resizing(size, size, dtype="float32")(image)
    x = rescale(x, "channels_last")
    network = MODELS[recipe.model](
        weights=weights,
        input_tensor=x,
        classes=len(class_names),
        classifier_activation=None,
        synchronized=training.synchronized(recipe),
        dtype=recipe.precision,
    )
    if weights is None:
        # Learns sooner: section 5.1 of Goyal et al.,
        # https://arxiv.org/abs/1706.02677.
        for layer in network.layers:
            if layer.name.endswith("_3_bn"):
                layer.gamma.assign(keras.ops.zeros(layer.gamma.shape))
    if recipe.freeze:
        freeze_backbone(network)
    x = keras.layers.Activation("linear", dtype="float32", name="logits")(
        network.output
    )
    x = keras.layers.Softmax(dtype="float32", name="probabilities")(x)
    predictions = ClassNames(class_names, dtype="float32")(x)
    return keras.Model(image, predictions, name=recipe.model)


def metrics():
    """Returns the metrics `top1` and `top5` of one-hot labels.

    To be given as `weighted_metrics`, for what fills up a batch of an
    evaluation must not count.
    """
    return [
        keras.metrics.CategoricalAccuracy(name="top1"),
        keras.metrics.TopKCategoricalAccuracy(k=5, name="top5"),
    ]


def backbone_variables(model):
    """Lists the variables of a classifier's backbone that train.

    Args:
        model: A network with the layer `predictions`, or a model of one.

    Returns:
        List of the trainable variables of all other layers.
    """
    predictions = {
        id(variable)
        for layer in model._flatten_layers()
        if layer.name == "predictions"
        for variable in layer.trainable_variables
    }
    return [v for v in model.trainable_variables if id(v) not in predictions]


def freeze_backbone(network):
    """Leaves only the layer `predictions` of a network to train.

    Args:
        network: An EPSANet with a classifier.
    """
    # A BatchNorm that is not trainable also keeps its statistics.
    for layer in network.layers:
        layer.trainable = layer.name == "predictions"


def compile_trained_part(classifier, recipe, steps_per_epoch):
    """Makes the model that `fit` trains: the classifier up to the logits.

    Args:
        classifier: What `build_classifier` returned; it shares its layers.
        recipe: `ClassifierRecipe`.
        steps_per_epoch: Integer.

    Returns:
        A compiled `keras.Model`, which logs `top1` and, where there are more
        than five classes, `top5`. With a teacher it is a
        `keras.distillation.Distiller`.

    Raises:
        OSError, ValueError: If the teacher cannot be read or does not fit.
    """
    model = keras.Model(
        classifier.input,
        classifier.get_layer("logits").output,
        name=classifier.name,
    )
    top1, top5 = metrics()
    optimizer = training.make_optimizer(
        recipe, steps_per_epoch, backbone_variables(model)
    )
    if recipe.teacher is not None:
        names = classifier.layers[-1].names
        with errors_of("--teacher", recipe.teacher):
            teacher = distillation.read_teacher(recipe.teacher, model, names)
        model = distillation.distilled(model, teacher, recipe)
    model.compile(
        optimizer=optimizer,
        loss=training.make_loss(recipe),
        weighted_metrics=[top1, top5][: 1 + (classifier.output.shape[-1] > 5)],
    )
    return model
