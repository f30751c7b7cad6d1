"""Trains an EPSANet to classify images and looks at what it has learned."""

import argparse
import time

import keras

from keras_epsanet import training
from keras_epsanet.classification import (
    batches,
    few_images,
    finishing,
    fitting,
    models,
    pictures,
    run_folder,
    sources,
    starting,
)
from keras_epsanet.commands import options, reporting
from keras_epsanet.distribution import num_replicas, pad_to_devices


def main(arguments=None, program="train_classifier"):
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
        run(args, program)


def parse(arguments=None, program="train_classifier"):
    """Reads the command line.

    Args:
        arguments: List of strings; `None` for those of the process.
        program: Name of the command in messages.

    Returns:
        `argparse.Namespace`. What is not given of a recipe is not in it.
    """
    return make_parser(program).parse_args(arguments)


def make_parser(program):
    """Makes the parser of the command line.

    Args:
        program: Name of the command in messages.

    Returns:
        `argparse.ArgumentParser`.
    """
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog=program,
        description="Trains an EPSANet to classify images.",
        usage="%(prog)s [options]",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--data",
        metavar="FOLDER",
        help="folder with a sub-folder of images for each of two classes or "
        "more, or with such folders train and val or test (default: the "
        "embedded 10,000 images of Fashion-MNIST)",
    )
    source.add_argument(
        "--tfds",
        metavar="NAME",
        help="name of a data set in TensorFlow Datasets instead, such as "
        "cifar10; needs the package tensorflow-datasets",
    )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        default="runs/classifier",
        help="folder for the results, where the same command goes on "
        "(default: runs/classifier)",
    )
    options.add_start_options(parser, "trained weights to start from")
    parser.add_argument(
        "--classes",
        type=options.positive("classes"),
        metavar="N",
        help="number of classes that the images must have, two at least "
        "(default: as many as they have)",
    )
    options.add_training_options(
        parser,
        training.ClassifierRecipe,
        models.MODELS,
        checkpoint_steps=500,
        default="that of the training in the output folder; otherwise as "
        "below, with smaller batches of fewer than 640 images, and with a "
        "warm-up over a tenth of the epochs, or, with --weights "
        f"or --inherit, {options.GENTLE}",
    )
    return parser


def run(args, program):
    """Trains, or says that it is done.

    Args:
        args: What `parse` returned.
        program: Name of the command in messages.
    """
    pictures.import_pyplot()
    recipe = run_folder.choose_recipe(
        args.output, args, fine_tuning=options.trained_start(args) is not None
    )
    options.check_trained_start(args, recipe)
    keras.utils.set_random_seed(recipe.seed)
    images = sources.open_images(args.data, args.tfds, recipe.val_share)
    sources.check_classes(images, args.classes)
    run_folder.check_same_images(args.output, images)
    finished = run_folder.finished_results(args.output, recipe)
    if finished is not None:
        report_finished(args.output, recipe, finished)
        return
    options.make_deterministic(args)
    train(args, recipe, images, program)


def train(args, recipe, images, program):
    """Trains to the end, and leaves the best epoch."""
    strategy = starting.make_strategy()
    before = run_folder.read_recipe(args.output)
    if before is None:
        recipe = fit_recipe(args, recipe, images.train, strategy)
    started = starting.start(
        args.output, recipe, images, args.weights, args.inherit, strategy
    )
    classifier, model, run, average, state, goes_on = started
    held_out = batches.evaluation_batches(images.held_out, recipe)
    evaluation = pad_to_devices(held_out, strategy)
    report_start(recipe, strategy, images, state)
    option = options.trained_start(args)
    reporting.report_longer(recipe, before)
    start = time.time()
    with reporting.interruptible(program, recipe, state) as interruption:
        if option is not None and not goes_on:
            with strategy.scope():
                fitting.keep_start(model, average, run, state, evaluation)
            print(f"Before training: held-out top-1 {state.best_value:.2%}")
        fitting.fit(
            model,
            average,
            images.train,
            evaluation,
            run,
            state,
            interruption,
            args.checkpoint_steps,
        )
        reporting.end_if_interrupted(interruption)
    print(f"Trained in {time.time() - start:.0f} s")
    if state.epoch < recipe.epochs:
        print(
            f"Ended by --patience {recipe.patience}: no epoch was better than "
            f"epoch {run_folder.best_epoch(state)}"
        )
    starting.take_best(started, images.train, evaluation, strategy)
    bar = reporting.progress_bar(images.held_out.num_images)
    finishing.finish(classifier, held_out, run, state, images, bar.update)
    reporting.report_next("predict", f"--model {args.output}/model.keras")


def fit_recipe(args, recipe, dataset, strategy):
    """Makes the recipe of a new training fit the number of its images."""
    number, devices = dataset.num_images, num_replicas(strategy)
    fitted = few_images.fit_batch_size(recipe, args, number, devices)
    if fitted != recipe:
        print(
            f"Fitted to {number:,} images: batches of {fitted.batch_size}, "
            f"not {recipe.batch_size}; --batch-size takes another number"
        )
    return fitted


def report_start(recipe, strategy, images, state):
    """Says what is trained, with what, and from where it goes on."""
    counts = (
        f"{len(images.class_names)} classes, {images.train.num_images:,} "
        f"images to train, {images.held_out.num_images:,} held out"
    )
    size = recipe.step_batch_size
    missing = -images.train.num_images % size
    if missing:
        counts += f"\nThe last of the {state.steps_per_epoch} step(s) of an "
        counts += f"epoch, {size} images each, is filled up with {missing} "
        counts += "that the epoch had already"
    if images.left_out:
        reasons = ", ".join(f"{n} {why}" for why, n in images.left_out.items())
        counts += f"\nLeft out: {sum(images.left_out.values())} files "
        counts += f"({reasons})"
    reporting.report_start(recipe.model, strategy, counts, recipe, state)


def report_finished(path, recipe, finished):
    """Says how a training that is finished can be trained longer."""
    early = finished["epochs"] < recipe.epochs
    print(
        f"{path} holds a finished training: {finished['epochs']} epoch(s)"
        + (f", ended early by --patience {recipe.patience}" if early else "")
        + f", held-out top-1 {finished['top1']:.2%} after epoch "
        f"{finished['best_epoch']}. To train it longer, raise "
        + ("--patience" if early else "--epochs")
        + "; to train anew, take another --output or remove the folder"
    )
