"""What a detector's training starts with: anew, or from its run folder."""

from keras_epsanet import training
from keras_epsanet.detection import from_recipe, trained_detectors
from keras_epsanet.detection.mmdet_weights import load_checkpoint
from keras_epsanet.training import trained_start

# Of images of detection, which are large, the middle is enough to fit to.
_SIDE = 224


def start(
    path, recipe, annotations, weights, inherit, strategy, steps_per_epoch
):
    """Builds a detector, and restores it if its training goes on.

    Args:
        path: Folder of the training. It is made if need be.
        recipe: `CocoRecipe`.
        annotations: `keras_epsanet.data.coco.Annotations` to train with.
        weights: Path of a trained classifier; what
            `trained_detectors.describe` takes; or `None`.
        inherit: What `inherit_weights` takes as its source, or `None`. A
            training that goes on has its weights in its checkpoints.
        strategy: What `keras_epsanet.distribution.make_strategy` returned.
        steps_per_epoch: Integer.

    Returns:
        The compiled detector, `RunFolder`, its `WeightAverage` or `None`, and
        `State`.

    Raises:
        OSError, ValueError: If the weights cannot be read or do not fit, or
            the folder belongs to another training.
    """
    is_chief = training.is_chief(strategy)
    names = annotations.class_names
    trained = None
    if weights is not None and trained_detectors.describe(weights) is not None:
        trained, weights = weights, None
    with strategy.scope():
        model = from_recipe.make_detector(
            recipe, len(names), weights, class_names=names
        )
        goes_on = training.has_checkpoints(path)
        if trained is not None and not goes_on:
            checkpoint = trained_detectors.read_trained(
                recipe.detector, trained
            )
            load_checkpoint(model, checkpoint)
    inherited = None
    if inherit is not None and not goes_on:
        inherited = _inherit(model, inherit, annotations, recipe, is_chief)
    with strategy.scope():
        from_recipe.compile_detector(model, recipe, steps_per_epoch)
        # Nothing that a wrong option leaves behind is in the way of the next.
        run = training.open_run(path, recipe, is_chief=is_chief)
        if inherited is not None:
            trained_start.note_start(run, inherit, inherited)
        elif trained is not None and not goes_on:
            trained_start.note_start(run, trained)
        average = training.make_average(model, recipe)
        state = run.restore(model, steps_per_epoch, average=average)
    training.check_same_step(path, state, strategy)
    return model, run, average, state


def _inherit(model, source, annotations, recipe, verbose):
    """Starts a detector's backbone from a ResNet, fitted to some images."""
    backbone = from_recipe.find_backbone(model)
    # Backbones of other libraries' detectors have one size.
    side = backbone.input.shape[1] or min(_SIDE, recipe.image_size)
    images = _middles(from_recipe.make_batches(annotations, recipe), side)
    return trained_start.inherit(
        backbone, source, images, recipe, side, verbose
    )


def _middles(batches, side):
    """Single images of one size, without what pads a batch."""
    import tensorflow as tf

    def cut(example):
        height, width = tf.unstack(example["image_size"])
        image = example["images"][:height, :width]
        return tf.image.resize_with_crop_or_pad(image, side, side)

    return batches.unbatch().map(cut)
