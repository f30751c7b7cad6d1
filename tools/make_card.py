"""Writes the card of a model that is published, with its training's numbers.

    python tools/make_card.py runs/classifier FOLDER --license mit

writes README.md, which the hubs show and read, and SHA256SUMS into FOLDER,
which holds what is published. The other folder is that of the training.
"""

import argparse
import sys

import keras_epsanet_command

keras_epsanet_command.set_variables()  # Before TensorFlow is imported.

from keras_epsanet.hub import model_card  # noqa: E402


def parse(arguments=None):
    """Reads the command line.

    Args:
        arguments: List of strings; `None` for those of the process.

    Returns:
        `argparse.Namespace`.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", metavar="RUN", help="folder of the training")
    parser.add_argument(
        "folder", metavar="FOLDER", help="folder that is published"
    )
    parser.add_argument(
        "--license",
        required=True,
        metavar="ID",
        help="of the weights, as the hub calls it: mit, apache-2.0, …",
    )
    parser.add_argument("--name", help="title (default: that of the network)")
    parser.add_argument(
        "--repository", metavar="USER/NAME", help="where it will be"
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="what it was trained on (default: the name of the folder)",
    )
    return parser.parse_args(arguments)


def main(arguments=None):
    """Runs the command.

    Args:
        arguments: List of strings; `None` for those of the process.

    Raises:
        SystemExit: With a message if there is no such training or model.
    """
    try:
        print(f"Saved {model_card(**vars(parse(arguments)))}")
    except (OSError, ValueError) as error:
        sys.exit(f"make_card.py: {error}")


if __name__ == "__main__":
    main()
