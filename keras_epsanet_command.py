"""The installed command `keras-epsanet`.

It stands outside of the package: `import keras_epsanet` imports Keras, and
with it TensorFlow, which reads the variables set here only then.
"""

import argparse
import contextlib
import importlib
import os
import sys

# Each word is a module of `keras_epsanet.commands`.
WORDS = {
    "train": "train a classifier on your own images",
    "train-imagenet": "train an EPSANet on ImageNet as the paper does",
    "train-coco": "train a detector on COCO or on composed scenes",
    "predict": "name what images show",
    "detect": "draw what a detector finds in images and videos",
    "explain": "show why a classifier or detector says what it says",
    "evaluate": "measure a classifier, or weights on ImageNet",
    "evaluate-coco": "measure a detector by COCO's rules",
    "export": "write a model for other runtimes and compare it",
    "convert": "turn a folder of images into TFRecords",
    "compare": "train a ResNet with each of several attentions",
    "complexity": "count the parameters and FLOPs of a network",
}
VARIABLES = {
    # On processors without AVX-512 TensorFlow leaves these kernels off,
    # although they train EPSANet 2.5 times as fast there too.
    "TF_ENABLE_ONEDNN_OPTS": "1",
    # Of TensorFlow, errors alone.
    "TF_CPP_MIN_LOG_LEVEL": "2",
}


def set_variables():
    """Sets the variables of TensorFlow that are not set, before its import."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)


def make_parser():
    """Makes the parser of the first word, which imports nothing."""
    width = max(map(len, WORDS))
    words = [f"  {word:{width}}  {text}" for word, text in WORDS.items()]
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="keras-epsanet",
        usage="%(prog)s WORD [options]",
        description="\n".join(["Words:", *words]),
        epilog="`keras-epsanet WORD --help` lists the options of a word.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "word", choices=WORDS, metavar="WORD", help=argparse.SUPPRESS
    )
    return parser


@contextlib.contextmanager
def silent_descriptor(number):
    """Drops what is written to a file descriptor, by C++ too.

    The package imports Keras, whose recipes and networks the options are
    about, and TensorFlow then tells of devices before it reads its variables.

    Args:
        number: Integer, 2 for what the process writes to stderr.
    """
    kept = os.dup(number)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), number)
    try:
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)


def main(arguments=None):
    """Runs the command of the first word with the other words.

    Args:
        arguments: List of strings; `None` for those of the process.

    Raises:
        SystemExit: As of the command, and 130 after Ctrl-C.
    """
    if arguments is None:
        arguments = sys.argv[1:]
    word = make_parser().parse_args(arguments[:1]).word
    set_variables()
    name = f"keras_epsanet.commands.{word.replace('-', '_')}"
    only_help = {"-h", "--help"} & {*arguments[1:]}
    try:
        with silent_descriptor(2) if only_help else contextlib.nullcontext():
            module = importlib.import_module(name)
        module.main(arguments[1:], f"keras-epsanet {word}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
