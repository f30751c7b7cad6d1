"""Trains a detector with an EPSANet as its backbone, and looks at it.

    python examples/train_coco.py --weights runs/classifier/model.keras

trains RetinaNet on 1,200 scenes composed of Fashion-MNIST's images, which need
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
and `val2017`. The same command again goes on where the training was.

What was reached on scenes stands in docs/detection.md. Not run on COCO.
"""

import argparse
import dataclasses
import json
import math
import os
import sys

# On processors without AVX-512 TensorFlow leaves its fast kernels off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np

from keras_epsanet import EPSANetBackbone, detection, distribution, training
from keras_epsanet.data import coco, scenes
from keras_epsanet.models.variants import MODEL_CONFIGS

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
    clipnorm=10.0,
    num_samples=64,
    freeze_stages=0,
    norm_eval=False,
)
NUM_SCENES = 1200
# Faster and Mask R-CNN: the same rate for smaller batches, each scene once.
SCENES_RCNN = {"batch_size": 2, "learning_rate": 0.004, "epochs": 1}
NUM_SCENES_RCNN = 2400


def main():
    args = parse_args()
    # A preempted machine is told so by SIGTERM.
    preemption = training.Preemption()
    try:
        train(args, preemption)
    except (FloatingPointError, ImportError, OSError, ValueError) as error:
        sys.exit(f"train_coco: {error}")


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="COCO", help="default: scenes")
    parser.add_argument(
        "--weights", metavar="FILE", help="trained classifier to start from"
    )
    parser.add_argument("--output", metavar="RUN", default="runs/detector")
    parser.add_argument(
        "--scenes",
        type=int,
        metavar="N",
        help="number of composed scenes to train on (default: "
        f"{NUM_SCENES}, for R-CNNs {NUM_SCENES_RCNN})",
    )
    parser.add_argument(
        "--checkpoint-steps",
        type=int,
        default=1000,
        metavar="N",
        help="steps from one checkpoint to the next (default: 1000)",
    )
    training.CocoRecipe.add_options(
        parser.add_argument_group("recipe"), model=MODEL_CONFIGS
    )
    return parser.parse_args()


def train(args, preemption):
    if "TF_CONFIG" in os.environ:
        raise ValueError(
            "The devices of one machine train. "
            f"Received: TF_CONFIG={os.environ['TF_CONFIG']}"
        )
    strategy = training.make_strategy()
    preemption.watch()
    recipe = choose_recipe(args)
    distribution.check_batch_size(recipe.step_batch_size, strategy)
    keras.utils.set_random_seed(recipe.seed)
    run = training.RunFolder(args.output, recipe)
    annotations = open_data(args, recipe)
    steps = len([x for x in annotations["train"].images if len(x.labels)])
    steps //= recipe.step_batch_size
    with strategy.scope():
        model = build_model(args, recipe, annotations["train"])
        compile_model(model, recipe, steps)
        average = training.make_average(model, recipe)
        state = run.restore(model, steps, average=average)
    print(
        f"{recipe.detector} on {recipe.model}, "
        f"{training.num_replicas(strategy)} device(s): "
        f"{len(annotations['train'].images):,} images, from step {state.step}"
    )
    evaluation = load(annotations["val"], recipe, training=False)
    evaluator = detection.CocoEvaluator(
        evaluation,
        annotations["val"],
        iou_types=("bbox", "segm") if has_masks(recipe) else ("bbox",),
        path=f"{run.path}/results.json",
        beside=paper_rows(recipe) if args.data else None,
    )
    training.trim_csv(f"{run.path}/log.csv", state.epoch)
    data = annotations["train"]
    fit(args, model, average, data, run, state, evaluator, preemption)
    if average:
        average.swap_in()
    print(f"SHA-256 {run.export(model, 'last.weights.h5')}  last.weights.h5")
    model.save(f"{run.path}/model.keras")
    with open(f"{run.path}/class_names.json", "w", encoding="utf-8") as file:
        json.dump(annotations["train"].class_names, file)
    batch = next(iter(evaluation))
    detection.draw_beside(
        batch,
        distribution.predict(model, [batch["images"]]),
        annotations["train"].class_names,
        path=f"{run.path}/predictions.png",
    )


def choose_recipe(args):
    """The paper's recipe or the scenes', with the options that are given."""
    changes = {}
    if getattr(args, "detector", "retinanet") != "retinanet":
        # MMDetection clips the gradients of RetinaNet alone.
        changes = {"clipnorm": None} if args.data else SCENES_RCNN
    recipe = training.COCO if args.data else SCENES
    return dataclasses.replace(recipe, **changes).with_options(args)


def open_data(args, recipe):
    folder, year = args.data, "2017"
    if not folder:
        folder, year = f"{args.output}/scenes", ""
        if not os.path.isdir(folder):
            count = args.scenes
            if count is None:
                is_rcnn = recipe.detector != "retinanet"
                count = NUM_SCENES_RCNN if is_rcnn else NUM_SCENES
            scenes.write(folder, count, 200, image_size=recipe.image_size)
    return {
        split: coco.Annotations(
            f"{folder}/annotations/instances_{split}{year}.json",
            f"{folder}/{split}{year}",
        )
        for split in ("train", "val")
    }


def build_model(args, recipe, annotations):
    keras.config.set_dtype_policy(recipe.precision)
    library = recipe.library != "keras_epsanet"
    side = padded_side(recipe)
    backbone = EPSANetBackbone.from_variant(
        recipe.model,
        weights=args.weights,
        image_shape=(side, side, 3) if library else (None, None, 3),
        freeze_stages=recipe.freeze_stages,
        norm_eval=recipe.norm_eval,
        synchronized=training.synchronized(recipe),
    )
    num_classes = len(annotations.class_names)
    if recipe.library == "keras_cv":
        return build_keras_cv(backbone, num_classes)
    if recipe.library == "keras_hub":
        return build_keras_hub(backbone, num_classes)
    if recipe.detector == "retinanet":
        return detection.RetinaNet(backbone, num_classes)
    cls = detection.MaskRCNN if has_masks(recipe) else detection.FasterRCNN
    return cls(
        backbone,
        num_classes,
        num_samples=recipe.num_samples,
        seed=recipe.seed,
    )


def build_keras_cv(backbone, num_classes):
    import keras_cv

    model = keras_cv.models.RetinaNet(
        backbone, num_classes=num_classes, bounding_box_format="xyxy"
    )
    model.prediction_decoder = keras_cv.layers.NonMaxSuppression(
        "xyxy", from_logits=True, confidence_threshold=0.05
    )
    return model


def build_keras_hub(backbone, num_classes):
    import keras_hub

    model = keras_hub.models.RetinaNetObjectDetector(
        keras_hub.models.RetinaNetBackbone(
            backbone,
            min_level=3,
            max_level=7,
            use_p5=True,  # P6 from C5.
            image_shape=backbone.input_shape[1:],
        ),
        num_classes=num_classes,
        bounding_box_format="xyxy",
    )
    # KerasHub 0.32 puts the prior of the classes on the boxes, and starts with
    # kernels five times as large as others', whose losses are in the hundreds.
    for head in (model.box_head, model.classification_head):
        for weight in head.trainable_variables:
            weight.assign(weight / 5)
    prior = model.classification_head.prediction_layer.bias
    prior.assign(np.full(prior.shape, -np.log(99)))
    wrong = model.box_head.prediction_layer.bias
    wrong.assign(np.zeros(wrong.shape))
    model.prediction_decoder = keras_hub.layers.NonMaxSuppression(
        "xyxy", from_logits=True, confidence_threshold=0.05
    )
    return model


def compile_model(model, recipe, steps):
    if recipe.optimizer == "adam":
        parts = recipe.accumulation_steps
        optimizer = keras.optimizers.Adam(
            training.make_schedule(recipe, steps),
            global_clipnorm=recipe.clipnorm,
            gradient_accumulation_steps=parts if parts > 1 else None,
        )
        if recipe.precision == "mixed_float16":
            optimizer = training.LossScale(optimizer)
    else:
        optimizer = training.make_optimizer(recipe, steps)
    if recipe.library == "keras_cv":
        model.compile(
            optimizer=optimizer,
            classification_loss="focal",
            box_loss="smoothl1",
        )
    else:
        model.compile(optimizer)


def paper_rows(recipe):
    try:
        return detection.paper_rows(recipe.detector, recipe.model)
    except ValueError:
        return None  # Not one of the paper's.


def has_masks(recipe):
    return recipe.detector == "mask_rcnn"


def padded_side(recipe):
    """Side of the square that the libraries' detectors get, in pixels."""
    return math.ceil(recipe.longer_side / 128) * 128


def load(annotations, recipe, **options):
    """Batches for this package's detectors or, padded more, a library's."""
    batch_size, pad_to = recipe.step_batch_size, 32
    if recipe.library != "keras_epsanet":
        pad_to = 2 * (padded_side(recipe),)
        if not options["training"]:
            # KerasHub's wants batches of the same size.
            batch_size = math.gcd(batch_size, len(annotations.images))
    return coco.load(
        annotations,
        batch_size,
        image_size=(recipe.image_size, recipe.longer_side),
        pad_to=pad_to,
        masks=has_masks(recipe),
        seed=recipe.seed,
        **options,
    )


def fit(args, model, average, annotations, run, state, evaluator, preemption):
    """Trains from the step of `state` to the last epoch of the recipe."""
    recipe, steps = run.recipe, state.steps_per_epoch
    adapt = {
        "keras_cv": coco.to_keras_cv,
        "keras_hub": coco.to_keras_hub,
    }.get(recipe.library, lambda batch: batch)
    # Twice at most: what is left of an interrupted epoch, then the others.
    while state.epoch < recipe.epochs:
        epoch, done = divmod(state.step, steps)
        batches = load(
            annotations, recipe, training=True, first_step=state.step
        )
        batches, waited = training.timed_input(batches.map(adapt))
        model.fit(
            batches,
            initial_epoch=epoch,
            epochs=epoch + 1 if done else recipe.epochs,
            steps_per_epoch=steps - done,
            shuffle=False,  # The batches are shuffled already.
            callbacks=[
                *([average] if average else []),
                evaluator,
                training.EpochLog(
                    training.make_schedule(recipe, steps),
                    recipe.step_batch_size,
                    waited,
                ),
                keras.callbacks.CSVLogger(f"{run.path}/log.csv", append=True),
                training.ScalarEvents(f"{run.path}/tensorboard"),
                training.Checkpointing(
                    run,
                    state,
                    args.checkpoint_steps,
                    preemption,
                    monitor="val_AP",
                    average=average,
                ),
            ],
        )


if __name__ == "__main__":
    main()
