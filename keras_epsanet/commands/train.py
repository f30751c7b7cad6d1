"""Trains an EPSANet to classify images and looks at what it has learned."""

import argparse
import os
import sys
import time

import keras

from keras_epsanet import training
from keras_epsanet.classification import (
    batches,
    finishing,
    fitting,
    models,
    pictures,
    run_folder,
    sources,
)
from keras_epsanet.distribution import check_batch_size, pad_to_devices


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
    try:
        run(args, program)
    except (
        FloatingPointError,
        ImportError,
        OSError,
        RuntimeError,
        ValueError,
    ) as error:
        sys.exit(f"{program}: {error}")
    except KeyboardInterrupt:
        print(
            f"\n{program}: interrupted. The same command goes on from the "
            "last checkpoint",
            file=sys.stderr,
        )
        sys.exit(130)


def parse(arguments=None, program="train_classifier"):
    """Reads the command line.

    Args:
        arguments: List of strings; `None` for those of the process.
        program: Name of the command in messages.

    Returns:
        `argparse.Namespace`. What is not given of a recipe is not in it.
    """
    parser = make_parser(program)
    args = parser.parse_args(arguments)
    if getattr(args, "freeze", False) and args.weights is None:
        parser.error("--freeze needs --weights to keep")
    return args


def make_parser(program):
    parser = argparse.ArgumentParser(
        prog=program,
        description="Trains an EPSANet to classify images.",
        usage="%(prog)s [options]",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--data",
        metavar="FOLDER",
        help="folder with a sub-folder of images for each class, or with "
        "such folders train and val or test (default: Fashion-MNIST)",
    )
    source.add_argument(
        "--tfds", metavar="NAME", help="name in TensorFlow Datasets"
    )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        default="runs/classifier",
        help="folder for the results, where the same command goes on "
        "(default: runs/classifier)",
    )
    parser.add_argument(
        "--weights", metavar="FILE", help="trained weights to start from"
    )
    parser.add_argument(
        "--classes",
        type=_positive,
        metavar="N",
        help="number of classes that the images must have",
    )
    parser.add_argument(
        "--checkpoint-steps",
        type=_positive,
        default=500,
        metavar="N",
        help="steps from one checkpoint to the next, besides those at the "
        "end of every epoch (default: 500)",
    )
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="the same weights bit for bit from every run, but slower",
    )
    group = parser.add_argument_group(
        "recipe",
        "default: that of the training in the output folder, or of "
        "keras_epsanet.training.ClassifierRecipe",
    )
    training.ClassifierRecipe.add_options(group, model=list(models.MODELS))
    return parser


def _positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value


_positive.__name__ = "int"  # For the message of argparse.


def run(args, program):
    """Trains, or says that it is done.

    Args:
        args: What `parse` returned.
        program: Name of the command in messages.
    """
    pictures.import_pyplot()
    recipe = run_folder.choose_recipe(
        args.output, args, fine_tuning=args.weights is not None
    )
    keras.utils.set_random_seed(recipe.seed)
    images = sources.open_images(args.data, args.tfds, recipe.val_share)
    check_classes(args, images)
    run_folder.check_same_images(args.output, images)
    finished = run_folder.finished_results(args.output, recipe)
    if finished is not None:
        report_finished(args.output, recipe, finished)
        return
    if args.deterministic:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    train(args, recipe, images, program)


def check_classes(args, images):
    names = images.class_names
    if args.classes not in (None, len(names)):
        raise ValueError(
            f"The images have {len(names)} classes: {names}. "
            f"Received: --classes {args.classes}"
        )


def train(args, recipe, images, program):
    strategy = make_strategy()
    check_batch_size(recipe.step_batch_size, strategy)
    steps = batches.steps_per_epoch(images.train, recipe)
    # A training that goes on has its weights in its checkpoints.
    goes_on = run_folder.has_checkpoints(args.output)
    before = run_folder.read_recipe(args.output)
    with strategy.scope():
        classifier = models.build_classifier(
            recipe, images.class_names, None if goes_on else args.weights
        )
        model = models.compile_trained_part(classifier, recipe, steps)
        run = run_folder.open_run(args.output, recipe, images)
        average = training.make_average(model, recipe)
        state = run.restore(model, steps, average=average)
    held_out = batches.evaluation_batches(images.held_out, recipe)
    evaluation = pad_to_devices(held_out, strategy)
    report_start(recipe, strategy, images, state)
    if goes_on and args.weights is not None:
        print(f"--weights {args.weights} is not read: the training goes on")
    if before is not None and before.epochs < recipe.epochs:
        print(
            f"{recipe.epochs} epochs instead of {before.epochs}: from here "
            "the learning rate is that of the longer training"
        )
    interruption = training.Interruption()
    start = time.time()
    try:
        if args.weights is not None and not goes_on:
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
        if interruption.requested:  # In the last epoch, which is saved.
            raise SystemExit(interruption.exit_code)
    except SystemExit:
        print(
            f"\n{program}: stopped after step {state.step:,} of "
            f"{recipe.epochs * steps:,}. The same command goes on from there",
            file=sys.stderr,
        )
        sys.exit(interruption.exit_code)
    finally:
        interruption.stop()
    print(f"Trained in {time.time() - start:.0f} s")
    if state.epoch < recipe.epochs:
        print(
            f"Ended by --patience {recipe.patience}: no epoch was better than "
            f"epoch {run_folder.best_epoch(state)}"
        )
    with strategy.scope():
        fitting.restore_best(model, average, run, state)
        if state.best_value is None:
            # Its checkpoint was damaged: the last one is what is left.
            fitting.note_best(model, state, evaluation)
    finishing.finish(classifier, held_out, run, state, images)


def make_strategy():
    """All devices of this machine, on TensorFlow."""
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        return tf.distribute.get_strategy()
    strategy = training.make_strategy()
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        raise ValueError(
            "A classifier is trained on one machine. Received: TF_CONFIG="
            f"{os.environ['TF_CONFIG']}"
        )
    return strategy


def report_start(recipe, strategy, images, state):
    print(
        f"{recipe.model} on {strategy.num_replicas_in_sync} device(s): "
        f"{len(images.class_names)} classes, {images.train.num_images:,} "
        f"images to train, {images.held_out.num_images:,} held out"
    )
    if images.left_out:
        reasons = ", ".join(f"{n} {why}" for why, n in images.left_out.items())
        print(f"Left out: {sum(images.left_out.values())} files ({reasons})")
    total = recipe.epochs * state.steps_per_epoch
    if state.step:
        print(
            f"Going on after step {state.step:,} of {total:,}, in epoch "
            f"{state.epoch + 1} of {recipe.epochs}"
        )
    if state.step < total:
        print(
            "The first step takes up to a minute, in which TensorFlow makes "
            "its graph",
            flush=True,
        )


def report_finished(path, recipe, finished):
    early = finished["epochs"] < recipe.epochs
    print(
        f"{path} holds a finished training: {finished['epochs']} epoch(s)"
        + (f", ended early by --patience {recipe.patience}" if early else "")
        + f", held-out top-1 {finished['top1']:.2%} after epoch "
        f"{finished['best_epoch']}. To train it longer, raise "
        + ("--patience" if early else "--epochs")
        + "; to train anew, take another --output or remove the folder"
    )
