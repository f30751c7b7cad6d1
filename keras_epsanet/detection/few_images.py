"""A recipe for COCO's 118,000 images, made to fit fewer."""

import dataclasses
import math

# So many updates a training has at least, and a tenth of them warm it up.
LEAST_UPDATES = 500
_WARM_UP_SHARE = 0.1
# Of the images a batch has a tenth at most.
_BATCH_SHARE = 0.1


def fit_to_images(recipe, given, num_images, num_devices=1):
    """Makes a recipe fit a data set, but for what was given.

    With as many images as COCO has it stays as it is.

    Args:
        recipe: `CocoRecipe` with the options that were given.
        given: What a parser with `CocoRecipe.add_options` returned.
        num_images: Integer, images with objects to train with.
        num_devices: Integer, devices that share a batch.

    Returns:
        `CocoRecipe`. Its batch has a tenth of the images at most, a power of
        2 and an image for each device at least; it has so many epochs that
        there are 500 updates at least; and its warm-up takes a tenth of them
        at most.

    Example:

    >>> import argparse
    >>> from keras_epsanet.training import COCO
    >>> recipe = fit_to_images(COCO, argparse.Namespace(), 40)
    >>> recipe.batch_size, recipe.epochs, recipe.warm_up_steps
    (4, 50, 50)
    """
    if not num_images:
        return recipe  # Which is refused elsewhere.
    if not hasattr(given, "batch_size"):
        most = max(1, int(num_images * _BATCH_SHARE))
        size = min(recipe.batch_size, 2 ** int(math.log2(most)))
        # Each device has an image in each part of a batch.
        least = num_devices * recipe.accumulation_steps
        size = max(size // least, 1) * least
        recipe = dataclasses.replace(recipe, batch_size=size)
    updates_per_epoch = max(1, num_images // recipe.batch_size)
    if not hasattr(given, "epochs"):
        epochs = math.ceil(LEAST_UPDATES / updates_per_epoch)
        epochs = max(recipe.epochs, epochs)
        recipe = dataclasses.replace(recipe, epochs=epochs)
    warm_up = {"warm_up_steps", "warm_up_epochs"} & set(vars(given))
    if not warm_up and recipe.warm_up_steps is not None:
        updates = recipe.epochs * updates_per_epoch
        steps = min(recipe.warm_up_steps, int(_WARM_UP_SHARE * updates))
        recipe = dataclasses.replace(recipe, warm_up_steps=steps)
    return recipe
