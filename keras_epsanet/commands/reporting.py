"""How all commands speak: of progress, errors, interruptions and bad files."""

import contextlib
import importlib.util
import re
import sys

import keras

from keras_epsanet import data, training
from keras_epsanet.commands.options import advise
from keras_epsanet.distribution import num_replicas

ERRORS = (FloatingPointError, ImportError, OSError, RuntimeError, ValueError)
# For the help of a command that uses `decoded` and `end_if_skipped`.
SKIPPED = (
    "Files that cannot be decoded are named and skipped; the command has done "
    "all others then, but ends with the status 1."
)
GOES_ON = "The same command goes on from"


@contextlib.contextmanager
def one_line_errors(program, advice=None):
    """Ends the process with a line instead of a traceback.

    Args:
        program: Name of the command in messages.
        advice: String, what to do after Ctrl-C, or `None`.

    Raises:
        SystemExit: With a message after an error, 130 after Ctrl-C.
    """
    try:
        yield
    except (NotImplementedError, RecursionError):
        raise  # Mistakes in the code.
    except ERRORS as error:
        sys.exit(f"{program}: {error}")
    except Exception as error:
        line = error_of_pipeline(error)
        if line is None:
            raise
        sys.exit(f"{program}: {line}")
    except KeyboardInterrupt:
        line = f"\n{program}: interrupted" + (f". {advice}" if advice else "")
        print(line, file=sys.stderr)
        sys.exit(130)


def error_of_pipeline(error):
    """Finds the `ValueError` with which the reading of images ended.

    TensorFlow raises an error of its own then, whose message has that of the
    `ValueError` between a traceback and names of operations.

    Args:
        error: Exception.

    Returns:
        String, the message, or `None` if this is another error.
    """
    if not type(error).__module__.startswith("tensorflow."):
        return None
    found = re.search(r"\bValueError: (.+)", str(error))
    return found and found[1]


@contextlib.contextmanager
def usable(program, path):
    """Ends the process with a line if a file cannot be used.

    Args:
        program: Name of the command in messages.
        path: The file that is opened within.

    Raises:
        SystemExit: With a message that names the file, or what makes it.
    """
    try:
        yield
    except (KeyError, OSError, TypeError, ValueError) as error:
        reason = advise(path) or error
        sys.exit(f"{program}: {path} cannot be used: {reason}")
    except Exception as error:
        # Those of TensorFlow's file systems, which Keras passes through.
        if not type(error).__module__.startswith("tensorflow."):
            raise
        reason = " ".join(str(error).split())
        sys.exit(f"{program}: {path} cannot be used: {reason}")


def check_installed(packages, what):
    """Raises, before any work, if an optional package is missing.

    Args:
        packages: Names of the packages, as they are imported.
        what: String, what needs them.

    Raises:
        ImportError: With the command that installs what is missing.

    Example:

    >>> check_installed(["none"], "A picture")
    Traceback (most recent call last):
    ImportError: A picture needs none: pip install none
    """
    missing = [x for x in packages if importlib.util.find_spec(x) is None]
    if missing:
        raise ImportError(
            f"{what} needs {' and '.join(missing)}: "
            f"pip install {' '.join(missing)}"
        )


def training_errors(program):
    """`one_line_errors` of a training, which goes on when it is run again."""
    return one_line_errors(program, f"{GOES_ON} the last checkpoint")


@contextlib.contextmanager
def interruptible(program, recipe, state, is_chief=True):
    """Lets Ctrl-C and SIGTERM save a training and end it with a line.

    Args:
        program: Name of the command in messages.
        recipe: `Recipe`.
        state: `State` of the training, which is kept up to date.
        is_chief: Whether this process is the one that prints.

    Yields:
        `Interruption`, to be given to `Checkpointing`.

    Raises:
        SystemExit: 130 after Ctrl-C, 75 after a SIGTERM.
    """
    interruption = training.Interruption()
    try:
        yield interruption
    except SystemExit:
        if is_chief:
            total = recipe.epochs * state.steps_per_epoch
            print(
                f"\n{program}: stopped after step {state.step:,} of "
                f"{total:,}. {GOES_ON} there",
                file=sys.stderr,
            )
        sys.exit(interruption.exit_code)
    finally:
        interruption.stop()


def end_if_interrupted(interruption, agree=bool):
    """Ends a training that was to end in its last epoch, which is saved.

    Args:
        interruption: What `interruptible` yielded.
        agree: Function of a boolean that returns whether it is true for any
            of several workers, all of which call this.

    Raises:
        SystemExit: If Ctrl-C or a SIGTERM has come.
    """
    if agree(interruption.requested):
        raise SystemExit(interruption.exit_code)


def report_start(what, strategy, images, recipe, state):
    """Says what a training starts with, and from where it goes on.

    Args:
        what: String, what is trained.
        strategy: What `make_strategy` returned.
        images: String, what it is trained with.
        recipe: `Recipe`.
        state: `State` at the start.
    """
    print(f"{what} on {num_replicas(strategy)} device(s): {images}")
    total = recipe.epochs * state.steps_per_epoch
    if state.step:
        print(
            f"Going on after step {state.step:,} of {total:,}"
            + (
                f", in epoch {state.epoch + 1} of {recipe.epochs}"
                if state.step < total
                else ""
            )
        )
    if state.step < total:
        print(
            "The first step takes a minute or, of a detector, two, in which "
            "TensorFlow makes its graph",
            flush=True,
        )


def report_longer(recipe, before):
    """Says what more epochs than before mean for the learning rate.

    Args:
        recipe: `Recipe`.
        before: `Recipe` of the training that goes on, or `None`.
    """
    if before is not None and before.epochs < recipe.epochs:
        print(
            f"{recipe.epochs} epochs instead of {before.epochs}: from here "
            "the learning rate is that of the longer training"
        )


def report_next(word, options):
    """Says with which command one looks at what was trained.

    Args:
        word: Word of `keras-epsanet`.
        options: String, its options.

    Example:

    >>> report_next("detect", "--run runs/mine")
    To try it: keras-epsanet detect --run runs/mine IMAGE...
    """
    print(f"To try it: keras-epsanet {word} {options} IMAGE...")


def progress_bar(number, unit="image"):
    """Makes Keras' progress bar, which writes little into a file.

    Args:
        number: Integer, how many there are.
        unit: String, what they are.

    Returns:
        `keras.utils.Progbar`.
    """
    # Where it cannot be drawn anew, a line every ten seconds is enough.
    interval = 0.05 if sys.stdout.isatty() else 10
    return keras.utils.Progbar(number, interval=interval, unit_name=unit)


def report_bad(names):
    """Names the images that could not be decoded.

    Args:
        names: List of strings.
    """
    if names:
        print(f"{len(names)} images are bad:", *names, sep="\n")


def decoded(files, skipped, program):
    """Decodes images one by one; bad ones are named and noted.

    Args:
        files: List of paths.
        skipped: List to which the paths of bad files are added.
        program: Name of the command in messages.

    Yields:
        Pairs of a path and an image, uint8 `(H, W, 3)`.
    """
    for path in files:
        try:
            yield path, data.decode_image(path)
        except ValueError as error:
            print(f"{program}: {error}", file=sys.stderr)
            skipped.append(path)


def end_if_skipped(program, files, skipped):
    """Ends the process with a line if images were skipped.

    Args:
        program: Name of the command in messages.
        files: List of the paths of all images.
        skipped: List of those that were skipped.

    Raises:
        SystemExit: With a message.
    """
    if skipped:
        sys.exit(f"{program}: {len(skipped)} of {len(files)} images skipped")
