"""What a `CocoRecipe` says, as a detector and its batches."""

import json
import math
import os

import keras

from keras_epsanet import storage
from keras_epsanet.data import coco
from keras_epsanet.data.coco.transforms import PAD_TO
from keras_epsanet.detection.ap_table import is_coco, paper_rows
from keras_epsanet.detection.evaluation import CocoEvaluator
from keras_epsanet.detection.faster_rcnn import FasterRCNN
from keras_epsanet.detection.libraries import (
    keras_cv_retinanet,
    keras_hub_retinanet,
)
from keras_epsanet.detection.mask_rcnn import MaskRCNN
from keras_epsanet.detection.retinanet import RetinaNet
from keras_epsanet.models.backbone import EPSANetBackbone
from keras_epsanet.models.resnet_backbone import ResNetBackbone
from keras_epsanet.models.resnet_variants import RESNET_CONFIGS
from keras_epsanet.training import CocoRecipe, make_optimizer, synchronized
from keras_epsanet.training.recipe_file import FILE, read_recipe_file


def has_masks(recipe):
    """Whether the detector of a recipe learns masks."""
    return recipe.detector == "mask_rcnn"


def make_detector(recipe, num_classes, weights=None, class_names=None):
    """Makes the detector of a recipe, in its precision, not compiled yet.

    Args:
        recipe: `CocoRecipe`.
        num_classes: Integer.
        weights: Path of a trained classifier to start from, or `None`.
        class_names: List of strings, which a detector of this package keeps
            for `detect`, or `None`.

    Returns:
        A detector of this package, of KerasCV or of KerasHub.

    Raises:
        ImportError: If the library of the recipe is not installed.
        OSError: If the weights cannot be read.
        ValueError: If the weights are of another network.
    """
    keras.config.set_dtype_policy(recipe.precision)
    is_ours = recipe.library == "keras_epsanet"
    side = _padded_side(recipe)
    is_resnet = recipe.model in RESNET_CONFIGS
    backbone = (ResNetBackbone if is_resnet else EPSANetBackbone).from_variant(
        recipe.model,
        weights=weights,
        image_shape=(None, None, 3) if is_ours else (side, side, 3),
        # A backbone that is frozen has all stages frozen.
        freeze_stages=4 if recipe.freeze else recipe.freeze_stages,
        norm_eval=recipe.norm_eval,
        synchronized=synchronized(recipe),
    )
    if recipe.library == "keras_cv":
        return keras_cv_retinanet(backbone, num_classes)
    if recipe.library == "keras_hub":
        return keras_hub_retinanet(backbone, num_classes)
    pictures = {
        "image_size": (recipe.image_size, recipe.longer_side),
        "class_names": class_names,
    }
    if recipe.detector == "retinanet":
        return RetinaNet(
            backbone,
            num_classes,
            head_initializer=recipe.head_initializer,
            **pictures,
        )
    cls = MaskRCNN if has_masks(recipe) else FasterRCNN
    return cls(
        backbone,
        num_classes,
        num_samples=recipe.num_samples,
        sampling_ratio=recipe.sampling_ratio,
        seed=recipe.seed,
        **pictures,
    )


def load_detector(run):
    """Loads the detector that a training left in its folder.

    Args:
        run: Folder of the training.

    Returns:
        A detector of this package.

    Raises:
        OSError, ValueError: If a file is missing, or is no detector of this
            package.
    """
    recipe = read_recipe_file(os.path.join(run, FILE), CocoRecipe)
    if recipe.library != "keras_epsanet":
        raise ValueError(
            "The detector must be one of this package. "
            f"Received: library={recipe.library}"
        )
    detector = keras.saving.load_model(
        os.path.join(run, "model.keras"), compile=False
    )
    if detector.class_names is None:
        # Of an older version, whose files did not know them.
        detector.image_size = recipe.image_size, recipe.longer_side
        names = os.path.join(run, "class_names.json")
        with storage.open_file(names, encoding="utf-8") as file:
            detector.class_names = json.load(file)
    return detector


def compile_detector(model, recipe, steps_per_epoch):
    """Compiles the detector of a recipe.

    Args:
        model: What `make_detector` returned.
        recipe: `CocoRecipe`.
        steps_per_epoch: As in `keras_epsanet.training.make_schedule`.

    Raises:
        ValueError: If the warm-up is as long as the training.
    """
    losses = {}
    if recipe.library == "keras_cv":
        losses = {"classification_loss": "focal", "box_loss": "smoothl1"}
    backbone = find_backbone(model).trainable_variables
    optimizer = make_optimizer(recipe, steps_per_epoch, backbone)
    model.compile(optimizer=optimizer, **losses)


def find_backbone(model):
    """Returns the backbone of this package in a detector of any library."""
    return next(
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, ResNetBackbone)
    )


def make_batches(
    annotations, recipe, training=False, first_step=0, shard=(0, 1)
):
    """Makes the batches of a recipe as its detector takes them.

    Those for evaluation are for `CocoEvaluator`, whatever the library.

    Args:
        annotations: `keras_epsanet.data.coco.Annotations`.
        recipe: `CocoRecipe`.
        training, first_step, shard: As in `keras_epsanet.data.coco.load`.

    Returns:
        A `tf.data.Dataset`.

    Raises:
        ValueError: As of `keras_epsanet.data.coco.load`.
    """
    batch_size, pad_to = recipe.step_batch_size, PAD_TO
    if recipe.library != "keras_epsanet":
        pad_to = 2 * (_padded_side(recipe),)
        if not training:
            # KerasHub's wants batches of the same size.
            batch_size = math.gcd(batch_size, len(annotations.images))
    batches = coco.load(
        annotations,
        batch_size,
        training=training,
        image_size=(recipe.image_size, recipe.longer_side),
        pad_to=pad_to,
        masks=has_masks(recipe),
        seed=recipe.seed,
        first_step=first_step,
        shard=shard,
        augmentation=make_augmentation(recipe) if training else None,
    )
    if training and recipe.library == "keras_cv":
        return batches.map(coco.to_keras_cv)
    if training and recipe.library == "keras_hub":
        return batches.map(coco.to_keras_hub)
    return batches


def make_evaluator(run, batches, annotations):
    """Makes what evaluates the epochs of a training.

    Args:
        run: `RunFolder`, where the first of several workers writes.
        batches: What `make_batches` returned.
        annotations: The `keras_epsanet.data.coco.Annotations` of it.

    Returns:
        `CocoEvaluator`.
    """
    recipe = run.recipe
    return CocoEvaluator(
        batches,
        annotations,
        iou_types=("bbox", "segm")[: 1 + has_masks(recipe)],
        path=f"{run.path}/results.json",
        beside=paper_rows_beside(recipe, annotations.class_names),
        every=recipe.evaluate_every,
        last=recipe.epochs,
    )


def make_augmentation(recipe):
    """Makes what changes the images of a recipe at random.

    Args:
        recipe: `CocoRecipe`.

    Returns:
        `keras_epsanet.data.coco.Augmentation`, or `None` for flips alone.
    """
    augmentation = coco.Augmentation(
        crop=recipe.crop,
        photometric=recipe.photometric,
        least_image_size=recipe.least_image_size,
    )
    return None if augmentation == coco.Augmentation() else augmentation


def paper_rows_beside(recipe, class_names):
    """Rows of the paper to compare with, where it has any.

    Args:
        recipe: `CocoRecipe`.
        class_names: List of strings, the classes of the data.

    Returns:
        What `paper_rows` returns; `None` for other data than COCO's and for
        networks that the paper did not train.
    """
    if not is_coco(class_names):
        return None
    try:
        return paper_rows(recipe.detector, recipe.model)
    except ValueError:
        return None


def _padded_side(recipe):
    """Side of the square that the libraries' detectors get, in pixels."""
    return math.ceil(recipe.longer_side / 128) * 128
