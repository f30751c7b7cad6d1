"""A training that starts from the weights of a trained ResNet."""

import contextlib
import dataclasses
import os

from keras_epsanet import storage
from keras_epsanet.atomic import write_file
from keras_epsanet.distribution.replicas import share_means
from keras_epsanet.weights import inherit_weights
from keras_epsanet.weights.inherit_resnet import check_fits
from keras_epsanet.weights.layer_names import network_layers
from keras_epsanet.weights.public_resnets import (
    full_name,
    is_public_name,
    read_source,
)

# Says in the folder of a training what it started from.
INITIALIZED_FROM = "initialized_from.txt"
_WHOLE = "All of it that fits, by --weights."
# Modules that cannot compute a ResNet's convolutions are fitted to so many
# images of 224×224 pixels, or fewer larger ones. They take 5 GB of memory.
MOST_IMAGES, _SIDE = 512, 224


def adapt_recipe(recipe, given):
    """Makes a recipe gentle for weights that are trained already.

    Args:
        recipe: `Recipe` for a network of random weights, with the options
            that were given.
        given: What a parser with `Recipe.add_options` returned.

    Returns:
        The recipe with a tenth of the learning rate, and a warm-up over a
        fifth of the epochs, at most five, but for what was given.

    Example:

    >>> import argparse
    >>> from keras_epsanet.training import IMAGENET
    >>> recipe = adapt_recipe(IMAGENET, argparse.Namespace())
    >>> recipe.learning_rate, recipe.warm_up_epochs
    (0.01, 5)
    """
    changes = {
        "learning_rate": recipe.learning_rate / 10,
        "warm_up_epochs": min(0.2 * recipe.epochs, 5),
    }
    return dataclasses.replace(
        recipe,
        **{k: v for k, v in changes.items() if not hasattr(given, k)},
    )


@contextlib.contextmanager
def errors_of(option, value):
    """Lets errors begin with the option that they come from.

    Args:
        option: String, such as `"--inherit"`.
        value: What it was given.

    Raises:
        OSError, ValueError: What is raised within, with both in front.

    Example:

    >>> with errors_of("--inherit", "resnet.pth"):
    ...     raise ValueError("It is empty")
    Traceback (most recent call last):
    ValueError: --inherit resnet.pth: It is empty
    """
    try:
        yield
    except (OSError, ValueError) as error:
        kind = OSError if isinstance(error, OSError) else ValueError
        raise kind(f"{option} {value}: {error}") from error


def check_source(source, option="--inherit"):
    """Raises if a trained model can neither be read nor downloaded.

    Args:
        source: Path or name of a public file.
        option: String, the option that it was given by.

    Raises:
        ValueError: If there is no file, and it is no such name.
    """
    if is_public_name(source):
        with errors_of(option, source):
            full_name(source)
    elif not storage.isfile(source):
        raise ValueError(
            f"{option} must be the file of a trained model or the name of a "
            f"public ResNet, such as resnext. There is no file {source}. "
            f"Received: {option} {source}"
        )


def check_network(source, network, option="--inherit"):
    """Raises if a trained ResNet cannot be read or does not fit a network.

    Args:
        source: Path or name of a public file, which is downloaded.
        network: An EPSANet or `EPSANetBackbone`.
        option: String, the option that it was given by.

    Raises:
        OSError, ValueError: With the reason.
    """
    with errors_of(option, source):
        check_fits(network_layers(network), read_source(network, source))


def check_start(path, recipe, start, options=("--weights", "--inherit")):
    """Raises if a training would begin with other weights than it should.

    Args:
        path: Folder of a training without checkpoints; it need not exist.
        recipe: `Recipe`.
        start: The option of the trained weights to start from, or `None`.
        options: The options that there are for that.

    Raises:
        ValueError: If there is nothing to start from, though the backbone is
            not to be trained or the training had a start.
    """
    if start is not None:
        return
    if recipe.freeze:
        raise ValueError(
            f"A backbone that is not trained needs {' or '.join(options)}. "
            "Received: freeze=True without trained weights"
        )
    note = os.path.join(path, INITIALIZED_FROM)
    if storage.exists(note):
        with storage.open_file(note) as file:
            source, *others = file.read().splitlines()
        option = "--weights" if _WHOLE in others else "--inherit"
        raise ValueError(
            f"{path} belongs to a training that started from {source} and "
            f"has no checkpoint yet. Give {option} {source} again, or take "
            "another folder. Received: no trained start"
        )


def count_fitted_images(size):
    """Counts the images to fit modules to, so that they fit in memory.

    Args:
        size: Integer, side of the images in pixels.

    Returns:
        Integer.

    Example:

    >>> count_fitted_images(224), count_fitted_images(448)
    (512, 128)
    """
    return max(1, min(MOST_IMAGES, MOST_IMAGES * _SIDE**2 // size**2))


def inherit(model, source, images, recipe, size, verbose=True):
    """Starts a network from a ResNet, the same on all replicas and workers.

    Args:
        model: A network with one input, made in the scope of its strategy.
        source: As in `keras_epsanet.inherit_weights`.
        images: `tf.data.Dataset` of single images as the model takes them.
        recipe: `Recipe`.
        size: Integer, side of the images in pixels.
        verbose: As there.

    Returns:
        `Inheritance`.
    """
    some = images.take(count_fitted_images(size)).batch(32)
    with errors_of("--inherit", source):
        inherited = inherit_weights(model, source, some, recipe.seed, verbose)
    # What other workers have computed may be rounded in another way.
    share_means(model, model.variables)
    return inherited


def note_start(run, source, inherited=_WHOLE):
    """Says in the folder of a training what it started from.

    Args:
        run: `RunFolder`.
        source: Path or name of the ResNet, or of the trained model.
        inherited: `Inheritance`; by default it is all that has a place.
    """
    if run.is_chief:
        path = os.path.join(run.path, INITIALIZED_FROM)
        write_file(path, f"{source}\n{inherited}\n")
