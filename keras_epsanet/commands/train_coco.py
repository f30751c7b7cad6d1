"""Trains a detector with an EPSANet as its backbone, and looks at it."""

import argparse
import dataclasses

import keras

from keras_epsanet import distribution, storage, training
from keras_epsanet.commands import options, reporting
from keras_epsanet.data.coco.batches import training_images
from keras_epsanet.detection import (
    demo,
    few_images,
    finishing,
    fitting,
    from_recipe,
    libraries,
    sources,
    starting,
    trained_detectors,
    training_data,
)
from keras_epsanet.distribution.cluster import check_one_process
from keras_epsanet.distribution.replicas import worker
from keras_epsanet.distribution.workers import chief_first, wait_for_all
from keras_epsanet.models.backbone import EPSANetBackbone
from keras_epsanet.models.resnet_variants import RESNET_CONFIGS
from keras_epsanet.models.variants import MODEL_CONFIGS
from keras_epsanet.training.trained_start import errors_of
from keras_epsanet.weights.public_detectors import family_of

# What a training that goes on can be given anew besides more epochs.
MAY_CHANGE = ("patience", "evaluate_every")
# What a training needs beside TensorFlow, for its evaluation and its picture.
PACKAGES = ("pycocotools", "matplotlib")


def main(arguments=None, program="train_coco"):
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
        train(args, program)


def parse(arguments=None, program="train_coco"):
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
    parser.add_argument(
        "--data",
        metavar="COCO",
        help="folder of COCO's, Pascal VOC's or YOLO's form, or one .json "
        "file (default: composed scenes of Fashion-MNIST's items)",
    )
    options.add_start_options(
        parser,
        "trained classifier or detector to start from: a file, or the name of "
        "a detector of MMDetection, such as mask_rcnn_resnet50_fpn_1x_coco",
    )
    parser.add_argument(
        "--output",
        metavar="RUN",
        default="runs/detector",
        help="folder for the results, where the same command goes on "
        "(default: runs/detector)",
    )
    parser.add_argument(
        "--scenes",
        type=options.positive("scenes"),
        metavar="N",
        help="number of composed scenes to train on (default: "
        f"{demo.NUM_SCENES}, for R-CNNs {demo.NUM_SCENES_RCNN}); as many, but "
        f"at most {demo.NUM_HELD_OUT}, are composed to evaluate with",
    )
    options.add_training_options(
        parser,
        training.CocoRecipe,
        [*MODEL_CONFIGS, *RESNET_CONFIGS],
        checkpoint_steps=1000,
        default="that of the training in RUN; otherwise, with --data, that of "
        "the paper, and fewer epochs for few images; on scenes what is named "
        f"so, and for R-CNNs {_options_of(demo.SCENES_RCNN)}",
        defaults={"": training.COCO, "of scenes": demo.scenes_recipe()},
    )
    args = parser.parse_args(arguments)
    if args.data and args.scenes:
        parser.error("--scenes are composed without --data only")
    return args


def _options_of(fields):
    """Fields of a recipe as a command line gives them."""
    return " ".join(
        f"--{name.replace('_', '-')} {value}" for name, value in fields.items()
    )


def train(args, program="train_coco"):
    """Trains to the end, and leaves the detector.

    Args:
        args: What `parse` returned.
        program: Name of the command in messages.
    """
    check_machine(args)
    options.make_deterministic(args)
    strategy = training.make_strategy()
    chief = training.is_chief(strategy)
    recipe = choose_recipe(args)
    libraries.check_workers(recipe.library, worker(strategy)[1])
    check_trained_detector(args, recipe)
    network = None if args.data else lambda: make_backbone(recipe)
    options.check_trained_start(args, recipe, network)
    distribution.check_batch_size(recipe.step_batch_size, strategy)
    keras.utils.set_random_seed(recipe.seed)
    annotations = open_same_data(args, recipe, strategy)
    recipe = fit_recipe(args, recipe, annotations["train"], strategy)
    steps = fitting.count_steps(annotations["train"], recipe)
    names = annotations["train"].class_names
    start = args.weights, args.inherit
    model, run, average, state = starting.start(
        args.output, recipe, annotations["train"], *start, strategy, steps
    )
    if chief:
        training_data.note_data(args.output, annotations)
        report_start(recipe, strategy, annotations, state)
    evaluation = from_recipe.make_batches(
        annotations["val"], recipe, shard=worker(strategy)
    )
    evaluator = from_recipe.make_evaluator(run, evaluation, annotations["val"])
    # Behind the strategy, which takes SIGTERM for several workers.
    with reporting.interruptible(program, recipe, state, chief) as interruption:
        fitting.fit(
            model,
            average,
            strategy,
            annotations,
            run,
            state,
            evaluator,
            interruption,
            args.checkpoint_steps,
        )
        # Together, for all workers take part in what follows.
        reporting.end_if_interrupted(
            interruption, training.any_worker(strategy)
        )
    if average:
        average.swap_in()
    finishing.finish(model, run, names, evaluation, state, average)
    wait_for_all(strategy)
    report_end(args, recipe, chief)


def check_machine(args):
    """Refuses what would only fail after hours."""
    if keras.backend.backend() != "tensorflow":
        check_one_process("A detector")
    reporting.check_installed(PACKAGES, "A detector's training")
    weights = args.weights
    if weights and not storage.isfile(weights) and not family_of(weights):
        raise ValueError(
            "--weights must be the file of a trained classifier or detector, "
            "or the name of a detector of MMDetection. "
            f"Received: --weights {weights}"
        )


def choose_recipe(args):
    """The recipe of the training in the folder, of the paper or the scenes."""
    theirs = training.read_recipe(args.output, training.CocoRecipe)
    if theirs is not None:
        recipe = training.resume_recipe(args.output, theirs, args, MAY_CHANGE)
        reporting.report_longer(recipe, theirs)
        return recipe
    with errors_of("--weights", args.weights):
        trained = args.weights and trained_detectors.describe(args.weights)
    changes = trained_detectors.changes_of(trained, args) if trained else {}
    recipe = training.COCO
    if not args.data:
        recipe = demo.scenes_recipe(
            changes.get("detector", getattr(args, "detector", "retinanet")),
            getattr(args, "library", "keras_epsanet"),
        )
    return dataclasses.replace(recipe, **changes).with_options(args)


def check_trained_detector(args, recipe):
    """Reads the detector that a training starts from, before work starts.

    Args:
        args: What `parse` returned.
        recipe: `CocoRecipe`.

    Raises:
        OSError, ValueError: If it cannot be downloaded or read.
    """
    if args.inherit and recipe.model in RESNET_CONFIGS:
        raise ValueError(
            "--inherit starts EPSANets from a ResNet; a ResNet is loaded by "
            f"--weights. Received: --inherit {args.inherit}, "
            f"model={recipe.model}"
        )
    goes_on = training.has_checkpoints(args.output)
    if args.weights and not goes_on:
        with errors_of("--weights", args.weights):
            if trained_detectors.describe(args.weights):
                trained_detectors.read_trained(recipe.detector, args.weights)


def make_backbone(recipe):
    """Makes a backbone that only tells which ResNets fit it."""
    return EPSANetBackbone.from_variant(recipe.model)


def open_same_data(args, recipe, strategy):
    """Opens the data of a training, which stay those that it began with."""
    annotations = chief_first(lambda: open_data(args, recipe), strategy)
    training_data.check_same_data(args.output, annotations)
    return annotations


def open_data(args, recipe):
    """Opens COCO, or composes the scenes of a training."""
    if args.data:
        return sources.open_annotations(
            args.data, args.output, recipe.val_share, recipe.seed
        )
    return demo.open_scenes(f"{args.output}/scenes", recipe, args.scenes)


def fit_recipe(args, recipe, annotations, strategy):
    """Makes the recipe of a new training fit the number of its images."""
    if not args.data or training.read_recipe(args.output, training.CocoRecipe):
        return recipe
    number = count_learned(recipe, annotations)
    devices = distribution.num_replicas(strategy)
    fitted = few_images.fit_to_images(recipe, args, number, devices)
    changes = fitted.differences(recipe)
    if changes:
        print(
            f"Fitted to {number:,} images with {objects(recipe)}: "
            f"{'; '.join(changes)}"
        )
    return fitted


def count_learned(recipe, annotations):
    """Counts the images that a detector learns from, those with objects."""
    masks = from_recipe.has_masks(recipe)
    return len(training_images(annotations, masks=masks))


def objects(recipe):
    """What an image must have to be learned from, a string."""
    return "masks" if from_recipe.has_masks(recipe) else "objects"


def report_start(recipe, strategy, annotations, state):
    """Says what is trained, with what, and from where it goes on."""
    train, val = (len(annotations[x].images) for x in ("train", "val"))
    learned = count_learned(recipe, annotations["train"])
    counts = f"{train:,} images to train"
    if learned < train:
        counts += f", of which {learned:,} with {objects(recipe)} are used"
    reporting.report_start(
        f"{recipe.detector} on {recipe.model}",
        strategy,
        f"{counts}, {val:,} to evaluate",
        recipe,
        state,
    )


def report_end(args, recipe, chief):
    """Says with which command one looks at the detector."""
    if chief and recipe.library == "keras_epsanet":
        reporting.report_next("detect", f"--run {args.output}")
