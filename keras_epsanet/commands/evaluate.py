"""Evaluates a classifier on a folder of images, or weights on ImageNet."""

import argparse
import warnings

import numpy as np

from keras_epsanet import training
from keras_epsanet.classification import evaluation
from keras_epsanet.classification.imagenet import evaluation as table_2
from keras_epsanet.classification.inference import find_class_names
from keras_epsanet.commands.options import MODEL, positive
from keras_epsanet.commands.outputs import check_writable
from keras_epsanet.commands.reporting import one_line_errors, usable
from keras_epsanet.commands.trained_models import load_classifier
from keras_epsanet.data import imagenet
from keras_epsanet.models.variants import MODEL_CONFIGS


def main(arguments=None, program="evaluate"):
    """Runs the command.

    Args:
        arguments: List of strings; `None` for those of the process.
        program: Name of the command in messages.

    Raises:
        SystemExit: With a message if the model, the weights or the images
            cannot be used.
    """
    args = parse(arguments, program)
    # Keras says so after batches whose number it is not told.
    warnings.filterwarnings("ignore", "Your input ran out of data")
    with one_line_errors(program):
        if args.weights:
            evaluate_weights(args)
        else:
            evaluate_model(args, program)


def parse(arguments=None, program="evaluate"):
    """Reads the command line.

    Args:
        arguments: List of strings; `None` for those of the process.
        program: Name of the command in messages.

    Returns:
        `argparse.Namespace`.
    """
    parser = make_parser(program)
    args = parser.parse_args(arguments)
    if args.weights and not args.data:
        parser.error("--weights needs --data")
    return args


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
        description=__doc__,
        usage="%(prog)s [--model FILE | --weights FILE] [options]",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--model",
        metavar="FILE",
        default=MODEL,
        help="trained classifier, or the folder of its training "
        f"(default: {MODEL})",
    )
    source.add_argument(
        "--weights",
        metavar="FILE",
        help="weights for ImageNet instead, of the network --network",
    )
    parser.add_argument(
        "--data",
        metavar="PATH",
        help="folder with a sub-folder of images for each class, or, of "
        "--weights, ImageNet as of train-imagenet (default: the embedded "
        "2,000 test images of Fashion-MNIST, for a model of its classes; "
        "--weights need it)",
    )
    _add_how(parser)
    return parser


def _add_how(parser):
    """Adds the options of how it is evaluated."""
    parser.add_argument(
        "--batch-size",
        type=positive("batch_size"),
        metavar="N",
        default=64,
        help="images that are computed at a time (default: 64)",
    )
    parser.add_argument(
        "--confusion",
        metavar="FILE",
        help="write the confusion matrix of --model to a .csv file",
    )
    parser.add_argument(
        "--network",
        choices=list(MODEL_CONFIGS),
        default="epsanet50_small",
        help="network that --weights are of (default: epsanet50_small)",
    )
    parser.add_argument(
        "--image-size",
        type=positive("image_size"),
        metavar="N",
        default=224,
        help="side of ImageNet's images in pixels, for --weights "
        "(default: 224)",
    )


def evaluate_model(args, program):
    """Evaluates a saved classifier, class by class."""
    if args.confusion:
        check_writable(args.confusion)
    strategy = training.make_strategy()
    with strategy.scope(), usable(program, args.model):
        model = load_classifier(args.model)
    if args.data is None:
        names = find_class_names(model).names
        evaluation.check_embedded(names, "--data")
    images = evaluation.open_images(args.data)
    results = evaluation.evaluate(model, images, args.batch_size, strategy)
    print_results(results)
    if args.confusion:
        results.save_confusion(args.confusion)
        print(f"Saved {args.confusion}")


def print_results(results):
    """Prints loss and accuracy, and what becomes of every class.

    Args:
        results: `Results`.
    """
    labels, names = results.labels, results.class_names
    true = results.probabilities[np.arange(len(labels)), labels]
    loss = -np.log(np.maximum(true, 1e-7)).mean()
    line = f"{len(labels)} images: loss {loss:.4f}"
    for name, value in results.summary().items():
        line += f", {name.replace('top', 'top-')} {value:.2%}"
    print(line)
    for i, counts in enumerate(results.confusion):
        if not counts.sum():
            continue
        wrong = sorted(
            (-count, names[j])
            for j, count in enumerate(counts)
            if j != i and count
        )
        taken = ", ".join(f"{other} {-count}" for count, other in wrong[:3])
        print(
            f"  {names[i]}: {counts[i] / counts.sum():.2%} of {counts.sum()}"
            + (f", taken for {taken}" if taken else "")
        )


def evaluate_weights(args):
    """Evaluates weights on ImageNet, beside table 2 of the paper."""
    source = imagenet.open_source(args.data)
    strategy = training.make_strategy()
    with strategy.scope():
        network = table_2.load_network(
            args.network, args.weights, len(source.class_names)
        )
        result = table_2.evaluate(
            network, source, args.batch_size, args.image_size, strategy
        )
    if training.is_chief(strategy):
        print(table_2.table_row(args.network, network, result))
