"""Turns a folder tree of images into shards of TFRecords."""

from keras_epsanet.commands.reporting import one_line_errors
from keras_epsanet.data.imagenet import tfrecords

ADVICE = "The same command goes on with the shards that are missing"


def main(arguments=None, program="convert"):
    """Runs the command.

    Args:
        arguments: List of strings; `None` for those of the process.
        program: Name of the command in messages.

    Raises:
        SystemExit: With a message if the images cannot be converted, 130
            after Ctrl-C.
    """
    with one_line_errors(program, ADVICE):
        tfrecords.main(arguments, program)
