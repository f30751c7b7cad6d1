"""Counts the parameters and operations of a network, layer by layer."""

import argparse

import keras

import keras_epsanet
from keras_epsanet import storage
from keras_epsanet.classification.models import MODELS
from keras_epsanet.commands.options import positive
from keras_epsanet.commands.reporting import one_line_errors, usable
from keras_epsanet.commands.trained_models import model_file
from keras_epsanet.detection.detector import Detector
from keras_epsanet.detection.exported import input_size
from keras_epsanet.graph.operations import CONVENTIONS
from keras_epsanet.models.named_attention import NAMED

# Those that the package compares with, with any attention.
RESNETS = {
    "resnet50": keras_epsanet.ResNet50,
    "resnet101": keras_epsanet.ResNet101,
}
NETWORKS = {**MODELS, **RESNETS}


def main(arguments=None, program="complexity"):
    """Runs the command.

    Args:
        arguments: List of strings; `None` for those of the process.
        program: Name of the command in messages.

    Raises:
        SystemExit: With a message if the model cannot be used or counted.
    """
    args = parse(arguments, program)
    with one_line_errors(program):
        model = open_model(args, program)
        shape = image_shape(model, args.image_size)
        counts = keras_epsanet.complexity(model, shape, args.convention)
        print(
            f"For one image of {shape[0]}×{shape[1]} pixels:", counts, sep="\n"
        )


def parse(arguments=None, program="complexity"):
    """Reads the command line.

    Args:
        arguments: List of strings; `None` for those of the process.
        program: Name of the command in messages.

    Returns:
        `argparse.Namespace`.
    """
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog=program,
        description=__doc__,
        usage="%(prog)s [options] MODEL",
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help=f"{', '.join(NETWORKS)}, a file that ends in .keras, or the "
        "folder of a training",
    )
    parser.add_argument(
        "--attention",
        choices=list(NAMED),
        metavar="NAME",
        help=f"attention of a ResNet: {', '.join(NAMED)} (default: none)",
    )
    parser.add_argument(
        "--image-size",
        nargs="+",
        type=positive("image_size"),
        metavar="N",
        help="side of an image in pixels, or height and width (default: that "
        "of the model, of a detector that of its wide pictures, or 224)",
    )
    parser.add_argument(
        "--convention",
        choices=list(CONVENTIONS),
        default="table2",
        help="the table of the paper as which FLOPs are counted: table2 has "
        "multiply-adds and BatchNorm, table3 biases, ReLU and pooling, too "
        "(default: table2)",
    )
    args = parser.parse_args(arguments)
    is_name = args.model in NETWORKS
    is_path = args.model.endswith(".keras") or storage.isdir(args.model)
    if not is_name and not is_path:
        parser.error(
            f"{args.model} is none of {', '.join(NETWORKS)}, no folder, and "
            "does not end in .keras"
        )
    if args.attention is not None and args.model not in RESNETS:
        parser.error(f"--attention is of {' and '.join(RESNETS)} alone")
    if args.image_size is not None and len(args.image_size) > 2:
        parser.error("--image-size is one side, or height and width")
    return args


def open_model(args, program):
    """Builds the network of a name, or opens a file or that of a run."""
    if args.model in NETWORKS:
        size = args.image_size or [224]
        attention = {"attention": args.attention} if args.attention else {}
        # Of this size, so that one that the network does not take is refused.
        return NETWORKS[args.model](
            input_shape=(size[0], size[-1], 3), **attention
        )
    with usable(program, args.model):
        return keras.saving.load_model(model_file(args.model), compile=False)


def image_shape(model, size=None):
    """The shape of the image for which operations are counted.

    Args:
        model: `keras.Model`.
        size: List of one or two integers, or `None` for what the model takes,
            a detector its wide pictures, or 224 where it takes any.

    Returns:
        Tuple of height, width and channels.

    Raises:
        ValueError: If the model has another input than images.

    Example:

    >>> image = keras.Input((None, 96, 3))
    >>> model = keras.Model(image, keras.layers.ReLU()(image))
    >>> image_shape(model), image_shape(model, [64, 96])
    ((224, 96, 3), (64, 96, 3))
    """
    shapes = [x.shape for x in model.inputs]
    if list(map(len, shapes)) != [4]:
        raise ValueError(
            "The model must take images, (N, height, width, channels). "
            f"Received: a model with inputs of the shapes {shapes}"
        )
    height, width, channels = shapes[0][1:]
    if size is None and isinstance(model, Detector):
        return *input_size(model), channels
    if size is None:
        return height or 224, width or 224, channels
    return size[0], size[-1], channels
