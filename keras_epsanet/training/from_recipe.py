"""What a recipe says, as objects of Keras: rate, optimizer and loss."""

import keras

from keras_epsanet.training.adam import ScaledAdam
from keras_epsanet.training.average import WeightAverage
from keras_epsanet.training.loss_scale import LossScale
from keras_epsanet.training.schedule import EpochSchedule
from keras_epsanet.training.sgd_l2 import SGDL2


def make_schedule(recipe, steps_per_epoch):
    """Makes the learning rate of every step of `fit`.

    Args:
        recipe: `Recipe`.
        steps_per_epoch: Integer, steps of `fit` in an epoch; with
            accumulation several of them are one update.

    Returns:
        An `EpochSchedule`.

    Raises:
        ValueError: If the warm-up is as long as the training.

    Example:

    >>> from keras_epsanet.training import IMAGENET
    >>> schedule = make_schedule(IMAGENET, steps_per_epoch=5004)
    >>> [round(float(schedule(30 * 5004 + i)), 6) for i in (-1, 0)]
    [0.1, 0.01]
    """
    return EpochSchedule(
        recipe.peak_learning_rate,
        steps_per_epoch=steps_per_epoch,
        epochs=recipe.epochs,
        kind=recipe.schedule,
        decay_factor=recipe.decay_factor,
        **recipe.schedule_epochs(steps_per_epoch),
    )


def make_optimizer(recipe, steps_per_epoch, backbone=()):
    """Makes the optimizer of a recipe.

    Args:
        recipe: `Recipe`.
        steps_per_epoch: As in `make_schedule`.
        backbone: List of the variables whose rate the recipe's
            `backbone_rate` multiplies.

    Returns:
        `SGDL2`, or `ScaledAdam` for a recipe that says so; in a
        `LossScale` for `mixed_float16`.

    Example:

    >>> from keras_epsanet.training import IMAGENET
    >>> make_optimizer(IMAGENET, steps_per_epoch=5004).l2
    0.0001
    """
    accumulated = recipe.accumulation_steps
    options = {
        "learning_rate": make_schedule(recipe, steps_per_epoch),
        "global_clipnorm": recipe.clipnorm,
        "gradient_accumulation_steps": accumulated if accumulated > 1 else None,
    }
    if getattr(recipe, "optimizer", "sgd") == "adam":
        optimizer = ScaledAdam(**options)
    else:
        optimizer = SGDL2(
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            l2=recipe.l2,
            **options,
        )
        if not recipe.l2_on_all:
            optimizer.exclude_from_l2(var_names=["bias", "gamma", "beta"])
    if recipe.backbone_rate != 1.0:
        optimizer.scale_rate(backbone, recipe.backbone_rate)
    if recipe.precision == "mixed_float16":
        return LossScale(optimizer)
    return optimizer


def synchronized(recipe):
    """What the networks' argument `synchronized` has to be for a recipe.

    On JAX each batch is one array over all devices, of which BatchNorm takes
    the statistics in any case.

    Args:
        recipe: `Recipe`.

    Returns:
        Boolean.

    Raises:
        ValueError: If the recipe asks for statistics of single devices where
            there are none.

    Example:

    >>> from keras_epsanet.training import Recipe
    >>> synchronized(Recipe())
    False
    """
    if keras.backend.backend() == "tensorflow":
        return recipe.sync_bn
    if not recipe.sync_bn and keras.distribution.distribution() is not None:
        raise ValueError(
            "On JAX BatchNorm takes its statistics over all devices: use "
            "sync_bn=True (--sync-bn). Received: sync_bn=False"
        )
    return False


def make_average(model, recipe):
    """Makes the average of the weights of a recipe.

    Args:
        model: Built and compiled `keras.Model`.
        recipe: `Recipe`.

    Returns:
        `WeightAverage`, or `None` if the recipe has none.

    Example:

    >>> from keras_epsanet.training import Recipe
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> make_average(model, Recipe(ema=0.999)).decay
    0.999
    """
    if recipe.ema is None:
        return None
    if isinstance(model, keras.distillation.Distiller):
        model = model.student  # Its teacher does not change.
    return WeightAverage(model, recipe.ema)


def make_loss(recipe):
    """Makes the loss of a recipe, for a network that returns logits.

    Args:
        recipe: `Recipe` with a `label_smoothing`.

    Returns:
        `keras.losses.CategoricalCrossentropy` of logits and one-hot labels,
        both `(N, classes)`.

    Example:

    >>> from keras_epsanet.training import IMAGENET
    >>> loss = make_loss(IMAGENET)
    >>> print(round(float(loss([[1.0, 0.0]], [[1.0, 0.0]])), 4))
    0.3633
    """
    return keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=recipe.label_smoothing
    )
