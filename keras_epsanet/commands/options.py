"""Options that several commands have."""

from keras_epsanet import storage, training
from keras_epsanet.commands.trained_models import model_file
from keras_epsanet.detection.from_recipe import load_detector
from keras_epsanet.detection.trained_detectors import load_trained
from keras_epsanet.training import teacher
from keras_epsanet.training.recipe_fields import POSITIVE_INTEGER, reader
from keras_epsanet.training.recipe_file import (
    Trained,
    check_trained,
    trained_in,
)
from keras_epsanet.training.trained_start import (
    MOST_IMAGES,
    check_network,
    check_source,
    check_start,
)
from keras_epsanet.weights.public_detectors import family_of

# What `keras-epsanet train` and `keras-epsanet train-coco` leave by default.
MODEL = "runs/classifier/model.keras"
DETECTOR_RUN = "runs/detector"
_TRAININGS = {MODEL: "train", DETECTOR_RUN: "train-coco"}
# What `trained_start.adapt_recipe` does.
GENTLE = (
    "a tenth of the learning rate, and a warm-up over a fifth of the epochs, "
    "at most five"
)
# What --weights of a command for detectors takes.
DETECTOR = (
    "another detector instead: the name of a public one of MMDetection, such "
    "as mask_rcnn_resnet50_fpn_1x_coco, which is downloaded once, a file of "
    "MMDetection's or of this package (.keras), or the folder of a training"
)


def positive(name):
    """Makes the `type` of an option that is a positive integer.

    Args:
        name: String, name of the option in messages.

    Returns:
        Function of a text.

    Example:

    >>> positive("batch_size")("16")
    16
    """
    return reader(name, POSITIVE_INTEGER)


def add_training_options(
    parser,
    recipe,
    models,
    checkpoint_steps,
    default,
    of_smoke=None,
    defaults=None,
):
    """Adds the options that all trainings have.

    Args:
        parser: `argparse.ArgumentParser`.
        recipe: Class of the recipe, each of whose fields is an option.
        models: Names of the networks that can be trained.
        checkpoint_steps: Default of `--checkpoint-steps`.
        default: String, what the options of the recipe are by default.
        of_smoke: Default of `--checkpoint-steps` with `--smoke`, where there
            is such an option. The default is `None` then.
        defaults: As in `Recipe.add_options`.

    Returns:
        The group of the recipe's options.
    """
    add_running_options(parser, checkpoint_steps, of_smoke)
    group = parser.add_argument_group("recipe", f"default: {default}")
    recipe.add_options(group, defaults=defaults, model=list(models))
    return group


def add_running_options(parser, checkpoint_steps, of_smoke=None):
    """Adds `--checkpoint-steps` and `--deterministic`.

    Args:
        parser: `argparse.ArgumentParser`.
        checkpoint_steps, of_smoke: As in `add_training_options`.
    """
    parser.add_argument(
        "--checkpoint-steps",
        type=positive("checkpoint_steps"),
        default=checkpoint_steps if of_smoke is None else None,
        metavar="N",
        help="steps from one checkpoint to the next, besides those at the "
        f"end of every epoch (default: {checkpoint_steps}"
        + (")" if of_smoke is None else f", with --smoke {of_smoke})"),
    )
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="the same weights bit for bit from every run, but slower",
    )


def add_start_options(parser, weights=None):
    """Adds `--weights` and `--inherit`, of which one can be given.

    Args:
        parser: `argparse.ArgumentParser`.
        weights: String, what `--weights` takes; `None` for no such option.
    """
    group = parser.add_mutually_exclusive_group()
    if weights is not None:
        group.add_argument("--weights", metavar="FILE", help=weights)
    group.add_argument(
        "--inherit",
        metavar="RESNET",
        help="trained ResNet to start from: a file, or the name of a public "
        "one, such as resnext (for EPSANet Large, exactly) or resnet50.tv2 "
        f"(fitted to {MOST_IMAGES} of the images, at most)",
    )


def add_detector_options(parser):
    """Adds `--run` and `--weights`, of which one can be given.

    Args:
        parser: `argparse.ArgumentParser`.
    """
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--run",
        default=DETECTOR_RUN,
        metavar="RUN",
        help="folder of the training, or the .keras file of its detector "
        f"(default: {DETECTOR_RUN})",
    )
    group.add_argument(
        "--weights",
        metavar="DETECTOR",
        help=DETECTOR,
    )


def open_detector(args):
    """Loads the detector that was chosen, by either option.

    Args:
        args: What a parser with `add_detector_options` returned.

    Returns:
        A detector of this package, with class names.

    Raises:
        OSError, ValueError, ImportError: If it cannot be loaded.
    """
    return load_any_detector(args.weights or args.run)


def load_any_detector(source):
    """Loads a detector.

    Args:
        source: String, the name of a public detector, the path of a file, or
            the folder of a training.

    Returns:
        A detector of this package, with class names.

    Raises:
        OSError, ValueError, ImportError: If it cannot be loaded.
    """
    if not storage.isdir(source):
        if not storage.exists(source) and family_of(source) is None:
            raise ValueError(
                "there is no such file or folder, nor a public detector of "
                "this name, such as mask_rcnn_resnet50_fpn_1x_coco. "
                f"Received: {source}"
            )
        return load_trained(source)
    check_trained(source, Trained.DETECTOR)
    file = model_file(source)
    # With its recipe, which tells what an older file does not.
    return load_detector(source) if trained_in(source) else load_trained(file)


def advise(path):
    """Says what makes a model that a command takes by default.

    Args:
        path: Path of a model that cannot be used.

    Returns:
        String, empty if the path is none of the defaults, or exists.

    Example:

    >>> advise("runs/detector")[:52]
    'it is the default, which `keras-epsanet train-coco` '
    """
    if path not in _TRAININGS or storage.exists(path):
        return ""
    is_classifier = path == MODEL
    option = "--model" if is_classifier else "--run or --weights"
    return (
        f"it is the default, which `keras-epsanet {_TRAININGS[path]}` leaves "
        f"at its end, and is not there. {option} takes another one"
    )


def trained_start(args):
    """Returns the option of the trained weights to start from, or `None`.

    Args:
        args: What a parser with `add_start_options` returned.

    Example:

    >>> import argparse
    >>> trained_start(argparse.Namespace(inherit="resnext"))
    '--inherit resnext'
    """
    for option in ("weights", "inherit"):
        value = getattr(args, option, None)
        if value is not None:
            return f"--{option} {value}"
    return None


def check_trained_start(args, recipe, make_network=None):
    """Checks what a training starts and learns from, before work starts.

    Args:
        args: What a parser with `add_start_options` returned, with `output`.
        recipe: `Recipe`.
        make_network: Function of no arguments that returns the network of a
            training whose images are written into `output`: a ResNet that
            does not fit it is refused before that.

    Raises:
        ValueError: If a file is missing, does not fit or was another one, a
            start is needed, or an option has no effect.
    """
    start = trained_start(args)
    goes_on = training.has_checkpoints(args.output)
    sources = {}
    if goes_on and start is not None:
        print(f"{start} is not read: the training goes on")
    elif not goes_on:
        names = [f"--{x}" for x in ("weights", "inherit") if hasattr(args, x)]
        check_start(args.output, recipe, start, names)
        if args.inherit is not None:
            check_source(args.inherit)
            sources["--inherit"] = args.inherit
    if getattr(recipe, "teacher", None) is not None:
        teacher.check_same(args.output, recipe.teacher)
        sources["--teacher"] = recipe.teacher
    else:
        _check_no_pupil(args)
    if make_network is not None and not goes_on and sources:
        network = make_network()
        for option, source in sources.items():
            check_network(source, network, option)


def _check_no_pupil(args):
    """Refuses what only a teacher gives a meaning to."""
    for name in ("teacher_share", "temperature"):
        if hasattr(args, name):
            option = f"--{name.replace('_', '-')}"
            raise ValueError(
                f"{option} is of a --teacher, which is missing. "
                f"Received: {option} {getattr(args, name)}"
            )


def make_deterministic(args):
    """Makes TensorFlow compute the same bit for bit, if it was asked for.

    Args:
        args: What the parser returned.
    """
    if args.deterministic:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
