"""Trains a detector with an EPSANet as its backbone, and looks at it.

    python examples/train_coco.py --weights runs/classifier/model.keras

trains RetinaNet on 1,600 scenes composed of Fashion-MNIST's images, which need
no download, from the weights that `train_classifier.py` made, and leaves in
the output folder `last.weights.h5`, `model.keras`, the log and
`predictions.png`: what it finds beside the truth.

    python examples/train_coco.py --detector mask_rcnn --weights FILE

trains Mask R-CNN (`faster_rcnn`: Faster R-CNN).

    python examples/train_coco.py --library keras_hub --weights FILE

trains KerasHub's RetinaNet instead, on the same data with the same recipe
(`--library keras_cv`: KerasCV's).

    python examples/train_coco.py --data COCO --weights FILE --output RUN

trains with the paper's recipe on all GPUs. COCO is a folder with
`annotations/instances_train2017.json`, `instances_val2017.json`, `train2017`
and `val2017`. The same command again goes on where the training was after
Ctrl-C, a SIGTERM or a kill, and a larger --epochs trains it further. Options
that are not given are then those of the training.

What was reached on scenes stands in docs/detection.md. Not run on COCO.
"""

import argparse
import dataclasses
import importlib.util
import json
import os
import sys

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Of TensorFlow, errors alone.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf

from keras_epsanet import detection, distribution, training
from keras_epsanet.data import coco, scenes
from keras_epsanet.detection import fitting, from_recipe
from keras_epsanet.models.variants import MODEL_CONFIGS
from keras_epsanet.training.recipe_fields import POSITIVE_INTEGER, reader

# A short training on few small scenes, from a small network's weights, for
# which the paper's SGD is too slow.
SCENES = training.CocoRecipe(
    image_size=192,
    longer_side=192,
    batch_size=4,
    optimizer="adam",
    learning_rate=0.002,
    schedule="cosine",
    epochs=3,
    warm_up_epochs=0.1,
    warm_up_steps=None,
    clipnorm=10.0,
    num_samples=64,
    freeze_stages=0,
    norm_eval=False,
)
NUM_SCENES, NUM_HELD_OUT = 1600, 200
# MMDetection's start of the heads suits trainings a hundred times as long.
SCENES_RETINANET = {"head_initializer": "he_normal"}
# Faster and Mask R-CNN: the same rate for smaller batches, each scene once.
SCENES_RCNN = {"batch_size": 2, "learning_rate": 0.004, "epochs": 1}
NUM_SCENES_RCNN = 2400
# What a training needs beside TensorFlow, for its evaluation and its picture.
PACKAGES = ("pycocotools", "matplotlib")


def main():
    args = parse_args()
    try:
        train(args)
    except (FloatingPointError, ImportError, OSError, ValueError) as error:
        sys.exit(f"train_coco: {error}")
    except KeyboardInterrupt:
        text = "interrupted. The same command goes on from the last checkpoint"
        print(f"\ntrain_coco: {text}", file=sys.stderr)
        sys.exit(130)


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], usage="%(prog)s [options]"
    )
    parser.add_argument(
        "--data", metavar="COCO", help="folder of COCO's form (default: scenes)"
    )
    parser.add_argument(
        "--weights", metavar="FILE", help="trained classifier to start from"
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
        type=reader("scenes", POSITIVE_INTEGER),
        metavar="N",
        help="number of composed scenes to train on (default: "
        f"{NUM_SCENES}, for R-CNNs {NUM_SCENES_RCNN})",
    )
    parser.add_argument(
        "--checkpoint-steps",
        type=reader("steps", POSITIVE_INTEGER),
        default=1000,
        metavar="N",
        help="steps from one checkpoint to the next, besides those at the "
        "end of every epoch (default: 1000)",
    )
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="the same weights bit for bit from every run, but slower",
    )
    training.CocoRecipe.add_options(
        parser.add_argument_group(
            "recipe",
            "default: that of the training in RUN, of the scenes or, with "
            "--data, of the paper (keras_epsanet.training.CocoRecipe)",
        ),
        model=MODEL_CONFIGS,
    )
    args = parser.parse_args()
    if args.data and args.scenes:
        parser.error("--scenes are composed without --data only")
    return args


def train(args):
    check_machine(args)
    if args.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = training.make_strategy()
    recipe = choose_recipe(args)
    distribution.check_batch_size(recipe.step_batch_size, strategy)
    keras.utils.set_random_seed(recipe.seed)
    annotations = open_data(args, recipe)
    steps = fitting.count_steps(annotations["train"], recipe)
    names = annotations["train"].class_names
    with strategy.scope():
        model = from_recipe.make_detector(
            recipe, len(names), args.weights, class_names=names
        )
        from_recipe.compile_detector(model, recipe, steps)
        # Nothing that a wrong option leaves behind is in the way of the next.
        run = training.open_run(args.output, recipe)
        average = training.make_average(model, recipe)
        state = run.restore(model, steps, average=average)
    print(
        f"{recipe.detector} on {recipe.model}, "
        f"{training.num_replicas(strategy)} device(s): "
        f"{len(annotations['train'].images):,} images, from step {state.step}"
    )
    evaluation = from_recipe.make_batches(annotations["val"], recipe)
    evaluator = detection.CocoEvaluator(
        evaluation,
        annotations["val"],
        iou_types=("bbox", "segm")[: 1 + from_recipe.has_masks(recipe)],
        path=f"{run.path}/results.json",
        beside=from_recipe.paper_rows_beside(recipe, names),
    )
    fit(args, model, average, annotations, run, state, evaluator)
    if average:
        average.swap_in()
    export(model, run, names, evaluation)


def check_machine(args):
    """Refuses what would only fail after hours."""
    if "TF_CONFIG" in os.environ:
        raise ValueError(
            "The devices of one machine train. "
            f"Received: TF_CONFIG={os.environ['TF_CONFIG']}"
        )
    missing = [x for x in PACKAGES if importlib.util.find_spec(x) is None]
    if missing:
        raise ImportError(
            f"A detector's training needs {' and '.join(missing)}: "
            "pip install keras-epsanet[detection]"
        )
    if args.weights and not os.path.isfile(args.weights):
        raise ValueError(
            "--weights must be the file of a trained classifier. "
            f"Received: --weights {args.weights}"
        )


def choose_recipe(args):
    """The recipe of the training in the folder, of the paper or the scenes."""
    theirs = training.read_recipe(args.output, training.CocoRecipe)
    if theirs is not None:
        recipe = training.resume_recipe(args.output, theirs, args)
        if recipe.epochs > theirs.epochs:
            print(
                f"{recipe.epochs} epochs instead of {theirs.epochs}: from here "
                "the learning rate is that of the longer training"
            )
        return recipe
    if args.data:
        return training.COCO.with_options(args)
    changes = {}
    if getattr(args, "detector", "retinanet") != "retinanet":
        changes = SCENES_RCNN
    elif getattr(args, "library", "keras_epsanet") == "keras_epsanet":
        changes = SCENES_RETINANET
    return dataclasses.replace(SCENES, **changes).with_options(args)


def open_data(args, recipe):
    folder, year = args.data, "2017"
    if not folder:
        folder, year = f"{args.output}/scenes", ""
        if not os.path.isdir(folder):
            count = args.scenes
            if count is None:
                is_rcnn = recipe.detector != "retinanet"
                count = NUM_SCENES_RCNN if is_rcnn else NUM_SCENES
            print(f"Composing {count:,} scenes in {folder}", flush=True)
            held_out = min(count, NUM_HELD_OUT)
            scenes.write(folder, count, held_out, recipe.image_size)
    annotations = {
        split: coco.Annotations(
            f"{folder}/annotations/instances_{split}{year}.json",
            f"{folder}/{split}{year}",
        )
        for split in ("train", "val")
    }
    if not args.data:
        check_scenes(args, recipe, folder, annotations["train"].images)
    if not annotations["val"].images:
        raise ValueError(f"{folder} has no image to evaluate with")
    return annotations


def check_scenes(args, recipe, folder, images):
    theirs = len(images), images[0].height
    ours = args.scenes or len(images), recipe.image_size
    if ours != theirs:
        raise ValueError(
            f"{folder} holds other scenes. Remove it, or take another "
            f"--output. Received: {ours[0]} scenes of {ours[1]} pixels, not "
            f"{theirs[0]} of {theirs[1]}"
        )


def fit(args, model, average, annotations, run, state, evaluator):
    """Trains to the end, or until Ctrl-C or a SIGTERM asks to stop."""
    interruption = training.Interruption()
    total = run.recipe.epochs * state.steps_per_epoch
    try:
        fitting.fit(
            model,
            average,
            annotations,
            run,
            state,
            evaluator,
            interruption,
            args.checkpoint_steps,
        )
        if interruption.requested:  # In the last epoch, which is saved.
            raise SystemExit(interruption.exit_code)
    except SystemExit:
        text = f"stopped after step {state.step:,} of {total:,}. The same "
        text += "command goes on from there"
        print(f"\ntrain_coco: {text}", file=sys.stderr)
        sys.exit(interruption.exit_code)
    finally:
        interruption.stop()


def export(model, run, class_names, evaluation):
    """Leaves the trained detector, and a picture of what it finds."""
    print(f"SHA-256 {run.export(model, 'last.weights.h5')}  last.weights.h5")
    model.save(f"{run.path}/model.keras")
    with open(f"{run.path}/class_names.json", "w", encoding="utf-8") as file:
        json.dump(class_names, file)
    batch = next(iter(evaluation))
    detection.draw_beside(
        batch,
        distribution.predict(model, [batch["images"]]),
        class_names,
        path=f"{run.path}/predictions.png",
    )


if __name__ == "__main__":
    main()
