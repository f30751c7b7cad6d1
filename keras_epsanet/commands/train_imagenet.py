"""Trains an EPSANet on ImageNet as the paper does (section 4.1)."""

import argparse
import atexit
import os
import shutil
import tempfile

import keras

from keras_epsanet import distribution, storage, training
from keras_epsanet.classification.imagenet import (
    finishing,
    fitting,
    smoke,
    starting,
)
from keras_epsanet.classification.models import MODELS
from keras_epsanet.commands import options, reporting
from keras_epsanet.data import imagenet
from keras_epsanet.training import trained_start
from keras_epsanet.training.recipe_file import FILE, read_recipe_file

CHECKPOINT_STEPS = 1000


def main(arguments=None, program="train_imagenet"):
    """Runs the command.

    Args:
        arguments: List of strings; `None` for those of the process.
        program: Name of the command in messages.

    Raises:
        SystemExit: With a message if the training fails, 130 after Ctrl-C,
            75 after a SIGTERM.
    """
    args = parse(arguments, program)
    with reporting.training_errors(program):
        train(args, program)


def parse(arguments=None, program="train_imagenet"):
    """Reads the command line.

    Args:
        arguments: List of strings; `None` for those of the process.
        program: Name of the command in messages.

    Returns:
        `argparse.Namespace`. What is not given of a recipe is not in it.
    """
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog=program,
        description=__doc__,
        usage="%(prog)s (--data PATH | --smoke) --output RUN [options]",
    )
    _add_source(parser)
    parser.add_argument(
        "--output",
        metavar="RUN",
        required=True,
        help="folder for the results, where the same command goes on",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="fail if there is nothing to go on from, and take the recipe "
        "from there; a training that was started goes on in any case",
    )
    options.add_start_options(parser)
    group = options.add_training_options(
        parser,
        training.ImageNetRecipe,
        MODELS,
        checkpoint_steps=CHECKPOINT_STEPS,
        default="as in the paper, as below, or as in --recipe or --smoke; with "
        f"--inherit {options.GENTLE}",
        of_smoke=smoke.CHECKPOINT_STEPS,
    )
    group.add_argument(
        "--recipe",
        metavar="FILE",
        help="a recipe.json, as a training leaves it, which has the defaults",
    )
    args = parser.parse_args(arguments)
    if args.checkpoint_steps is None:
        args.checkpoint_steps = (
            smoke.CHECKPOINT_STEPS if args.smoke else CHECKPOINT_STEPS
        )
    return args


def _add_source(parser):
    """Adds `--data` and `--smoke`, of which one must be given."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--data",
        metavar="PATH",
        help="ImageNet: a folder with train and val, a folder of TFRecords, "
        "or tfds[:FOLDER]",
    )
    source.add_argument(
        "--smoke",
        action="store_true",
        help="a few steps of a tiny network on embedded images, to see that "
        "all works",
    )


def choose_recipe(args):
    """The recipe of the file, the run or the paper, with the options given.

    A trained start has a lower rate and a warm-up unless a file or an option
    says otherwise.

    Args:
        args: What `parse` returned.

    Returns:
        `ImageNetRecipe`.

    Raises:
        OSError, ValueError: If the file cannot be read or the options do not
            fit one another.
    """
    path = args.recipe
    if path is None and args.resume:
        path = os.path.join(args.output, FILE)
    if path is not None:
        recipe = read_recipe_file(path, training.ImageNetRecipe)
        return recipe.with_options(args)
    recipe = smoke.SMOKE if args.smoke else training.IMAGENET
    recipe = recipe.with_options(args)
    if args.inherit:
        recipe = trained_start.adapt_recipe(recipe, args)
    return recipe


def make_network(recipe):
    """Makes a network that only tells which ResNets fit it."""
    size = recipe.image_size
    return MODELS[recipe.model](input_shape=(size, size, 3))


def open_source(args):
    """Opens ImageNet, or the embedded images of a smoke run."""
    if not args.smoke:
        return imagenet.open_source(args.data)
    path = os.path.join(args.output, "smoke_images")
    if storage.is_remote(path):
        # Each worker its own: folders of a storage do not appear at once.
        folder = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        path = os.path.join(folder, "smoke_images")
    if not os.path.isdir(path):
        smoke.write_images(path)
    return imagenet.open_source(path)


def train(args, program="train_imagenet"):
    """Trains to the end, and leaves weights and logs.

    Args:
        args: What `parse` returned.
        program: Name of the command in messages.
    """
    options.make_deterministic(args)
    strategy = training.make_strategy()
    chief = training.is_chief(strategy)
    recipe = choose_recipe(args)
    options.check_trained_start(
        args, recipe, (lambda: make_network(recipe)) if args.smoke else None
    )
    keras.utils.set_random_seed(recipe.seed)
    distribution.check_batch_size(recipe.step_batch_size, strategy)
    source = open_source(args)
    steps = fitting.count_steps(source, recipe)
    network, model, run, average, state = starting.start(
        args.output, recipe, source, args.inherit, strategy, steps
    )
    if args.resume and not state.step:
        raise ValueError(
            "There is no checkpoint to go on from. "
            f"Received: --output {args.output}"
        )
    if chief:
        report_start(recipe, strategy, source, state)
    # Behind the strategy, which takes SIGTERM for several workers.
    with reporting.interruptible(program, recipe, state, chief) as interruption:
        fitting.fit(
            model,
            average,
            strategy,
            source,
            run,
            state,
            interruption,
            args.checkpoint_steps,
        )
        # Together, for all workers take part in what follows.
        reporting.end_if_interrupted(
            interruption, training.any_worker(strategy)
        )
    reporting.report_bad(source.bad)
    finishing.export(
        network,
        model,
        average,
        run,
        state,
        lambda: fitting.recalibrate(model, strategy, source, recipe),
    )


def report_start(recipe, strategy, source, state):
    """Says what is trained, with what, and from where it goes on."""
    reporting.report_start(
        recipe.model,
        strategy,
        f"{len(source.class_names)} classes, {source.num_train:,} images to "
        f"train, {source.num_val:,} to evaluate",
        recipe,
        state,
    )
