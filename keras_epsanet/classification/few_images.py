"""The batches of a classifier that has few images to learn from."""

import dataclasses
import math

# Of the images a batch has a tenth at most, as those of detectors.
_SHARE = 0.1
# From fewer images BatchNorm's statistics say little.
_LEAST = 8


def fit_batch_size(recipe, given, num_images, num_devices=1):
    """Makes the batches of a recipe fit a data set, if none were given.

    Args:
        recipe: `ClassifierRecipe` with the options that were given.
        given: What a parser with `ClassifierRecipe.add_options` returned.
        num_images: Integer, images to train with.
        num_devices: Integer, devices that share a batch.

    Returns:
        `ClassifierRecipe`. Its batch has a tenth of the images at most, a
        power of 2 and not below 8. Of that it is the nearest smaller number
        that the devices can share in all parts, and an image for each at
        least.

    Example:

    >>> import argparse
    >>> from keras_epsanet.training import ClassifierRecipe
    >>> options = argparse.Namespace()
    >>> [fit_batch_size(ClassifierRecipe(), options, n).batch_size
    ...     for n in (13, 72, 200, 639, 640)]
    [8, 8, 16, 32, 64]
    """
    if hasattr(given, "batch_size"):
        return recipe
    most = max(_LEAST, int(num_images * _SHARE))
    size = min(recipe.batch_size, 2 ** int(math.log2(most)))
    if size == recipe.batch_size:
        return recipe  # Whether devices can share it is checked elsewhere.
    least = num_devices * recipe.accumulation_steps
    size = max(size // least, 1) * least
    return dataclasses.replace(recipe, batch_size=size)
