"""Trains a ResNet with each of several attentions, and compares them."""

import argparse
import os
from typing import NamedTuple

from keras_epsanet.atomic import write_file
from keras_epsanet.classification import pictures, starting
from keras_epsanet.classification.comparison import (
    costs,
    networks,
    picture,
    runs,
    sources,
    table,
)
from keras_epsanet.classification.comparison.folder import Folder, describe
from keras_epsanet.classification.comparison.networks import FRAMES, NONE
from keras_epsanet.commands import options, reporting
from keras_epsanet.distribution import check_batch_size
from keras_epsanet.training.classification_recipe import ClassificationRecipe
from keras_epsanet.training.imagenet_recipe import IMAGENET

ATTENTIONS = ("psa", "se", "cbam", "gc", "triplet", "eca", "fca", "sa")
ADVICE = "The same command goes on with what is missing"
# What differs between the runs, or has no meaning for networks that all begin
# anew and end with their last epoch.
NO_OPTION = (
    *("model", "seed", "freeze", "backbone_rate"),
    *("teacher", "teacher_share", "temperature", "recalibration_steps"),
)


def main(arguments=None, program="compare"):
    """Runs the command.

    Args:
        arguments: List of strings; `None` for those of the process.
        program: Name of the command in messages.

    Raises:
        SystemExit: With a message if the comparison fails, 130 after Ctrl-C,
            75 after a SIGTERM.
    """
    args = parse(arguments, program)
    # Networks are measured in other processes, which need a GPU's memory too.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    with reporting.one_line_errors(program, ADVICE):
        compare(args, program)


def parse(arguments=None, program="compare"):
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
        usage="%(prog)s [options]",
    )
    _add_networks(parser)
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        default="runs/compared",
        help="folder for the results, where the same command goes on; "
        "attentions and seeds can be added (default: runs/compared)",
    )
    parser.add_argument(
        "--paper",
        action="store_true",
        help="put the figures of the paper beside those of the runs",
    )
    options.add_running_options(parser, 1000)
    group = parser.add_argument_group(
        "recipe",
        "with --data the defaults are the paper's for ImageNet",
    )
    recipes = {"": sources.EMBEDDED, "of ImageNet": IMAGENET}
    ClassificationRecipe.add_options(group, NO_OPTION, recipes)
    return parser.parse_args(arguments)


def _add_networks(parser):
    """Adds the options of what is compared, and on which images."""
    parser.add_argument(
        "--attentions",
        nargs="+",
        metavar="NAME",
        default=list(ATTENTIONS),
        help=f"any of {', '.join(networks.NAMES)}; {NONE} is always there "
        f"(default: {' '.join(ATTENTIONS)})",
    )
    parser.add_argument(
        "--seeds",
        type=options.positive("seeds"),
        metavar="N",
        default=3,
        help="runs of each, with the seeds from 0 on (default: 3)",
    )
    parser.add_argument(
        "--data",
        metavar="IMAGENET",
        help="as of train-imagenet, whose recipe and images are taken then "
        "(default: the embedded Fashion-MNIST)",
    )
    parser.add_argument(
        "--model",
        choices=FRAMES,
        dest="frame",  # `model` is a field of recipes.
        help="the ResNet (default: narrow; resnet50 for ImageNet)",
    )
    for name, what in (("blocks", "blocks"), ("filters", "3×3 filters")):
        parser.add_argument(
            f"--{name}",
            nargs="+",
            type=options.positive(name),
            metavar="N",
            help=f"{what} of every stage (default: those of --model)",
        )


class Comparison(NamedTuple):
    """What is compared.

    Attributes:
        names: List of strings, the attentions, `NONE` first.
        seeds: Integer, runs of each.
        frame: `Frame`.
        recipe: Recipe of all runs.
        source: What `sources.open_source` returned.
        folder: `Folder`.
    """

    names: list
    seeds: int
    frame: networks.Frame
    recipe: ClassificationRecipe
    source: object
    folder: Folder

    @property
    def rows(self):
        """What `table.read_rows` takes."""
        return self.folder, self.names, self.seeds


def compare(args, program="compare"):
    """Measures and trains what is missing, and leaves the tables.

    Args:
        args: What `parse` returned.
        program: Name of the command in messages.
    """
    pictures.import_pyplot()
    options.make_deterministic(args)
    strategy = starting.make_strategy()
    comparison = open_comparison(args, strategy)
    measure(comparison)
    for seed in range(comparison.seeds):
        for name in comparison.names:
            if comparison.folder.result(name, seed) is None:
                fit(comparison, name, seed, strategy, args, program)
                report(comparison, args.paper)
    print(report(comparison, args.paper), end="")
    draw(comparison, args.paper)


def open_comparison(args, strategy):
    """Opens the images and the folder, once the options fit one another.

    Args:
        args: What `parse` returned.
        strategy: `tf.distribute.Strategy`.

    Returns:
        `Comparison`.

    Raises:
        ImportError, OSError, ValueError: If an option or the images are not
            as they must be, or the folder is of another comparison.
    """
    networks.check_names(args.attentions)
    names = [NONE, *(name for name in args.attentions if name != NONE)]
    frame = choose_frame(args)
    recipe = sources.base_recipe(args.data).with_options(args)
    check_batch_size(recipe.step_batch_size, strategy)
    source = sources.open_source(args.data)
    source.steps_per_epoch(recipe)
    folder = Folder(args.output, describe(frame, recipe, source))
    return Comparison(names, args.seeds, frame, recipe, source, folder)


def choose_frame(args):
    """Returns the `Frame` of the options.

    Args:
        args: What `parse` returned.

    Raises:
        ValueError: If there are not as many filters as blocks.
    """
    frame = FRAMES[args.frame or ("resnet50" if args.data else "narrow")]
    frame = frame._replace(
        blocks=tuple(args.blocks or frame.blocks),
        filters=tuple(args.filters or frame.filters),
    )
    if len(frame.blocks) != len(frame.filters):
        raise ValueError(
            "--blocks and --filters must have a number for each stage. "
            f"Received: {frame.blocks} and {frame.filters}"
        )
    return frame


def measure(comparison):
    """Measures the networks that were not yet, once all of them fit.

    Args:
        comparison: `Comparison`.

    Raises:
        ValueError: If an attention does not fit the frame.
    """
    names, _, frame, recipe, source, folder = comparison
    missing = [name for name in names if name not in folder.costs()]
    asked = (frame, recipe, len(source.class_names))
    counts = {name: costs.count(name, *asked) for name in missing}
    for name, counted in counts.items():
        print(f"Measuring a step of {name}", flush=True)
        measured = costs.measure_apart(name, *asked)
        folder.add_cost(name, {**counted, **measured})


def fit(comparison, name, seed, strategy, args, program):
    """Trains one network with one seed, from wherever that was."""
    _, _, frame, recipe, source, folder = comparison
    path = folder.run_path(name, seed)
    recipe = runs.recipe_of(recipe, frame, name, seed)
    started = runs.start(path, recipe, frame, name, source, strategy)
    state = started[-1]
    counts = "{:,} images to train, {:,} held out".format(*source.counts)
    what = f"{name}, seed {seed},"
    reporting.report_start(what, strategy, counts, recipe, state)
    with reporting.interruptible(program, recipe, state) as interruption:
        result = runs.train(
            started, source, strategy, interruption, args.checkpoint_steps
        )
        folder.add_result(name, seed, result)
        runs.remove_checkpoints(path)
        reporting.end_if_interrupted(interruption)


def report(comparison, paper):
    """Writes the tables of what is finished.

    Args:
        comparison: `Comparison`.
        paper: Whether the paper's figures are put beside.

    Returns:
        String, the table in Markdown.
    """
    rows, path = table.read_rows(*comparison.rows), comparison.folder.path
    beside = table.paper_model(comparison.frame.model) if paper else None
    text = table.as_markdown(rows, beside)
    write_file(f"{path}/table.md", text)
    write_file(f"{path}/table.csv", table.as_csv(rows, beside))
    return text


def draw(comparison, paper):
    """Draws the picture, and says what there is now.

    Args:
        comparison: `Comparison`.
        paper: Whether the paper's EPSANet is drawn, beside a ResNet of its
            depth.
    """
    path, model = comparison.folder.path, comparison.frame.model
    beside = model if paper and table.paper_model(model) == model else None
    picture.plot(
        table.read_rows(*comparison.rows), f"{path}/figure_1.png", beside
    )
    print(f"Saved table.md, table.csv and figure_1.png in {path}")
