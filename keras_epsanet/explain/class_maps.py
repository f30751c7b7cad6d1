"""Which pixels speak for a class: Grad-CAM and methods like it."""

import keras
import numpy as np

from keras_epsanet.detection.detector import Detector
from keras_epsanet.explain import detection_maps, score_cam
from keras_epsanet.explain.class_scores import before_softmax, check_classes
from keras_epsanet.explain.gradients import (
    activations_and_gradients,
    activations_and_scores,
)
from keras_epsanet.explain.layer_search import find_data_format, find_layer
from keras_epsanet.explain.map_sizes import finish
from keras_epsanet.explain.methods import METHODS, combine
from keras_epsanet.explain.model_inputs import (
    as_input,
    check_images,
    in_batches,
    run,
)
from keras_epsanet.explain.replaced import observed
from keras_epsanet.integers import check_positive

SCORE_CAM = "scorecam"
NAMES = (*METHODS, SCORE_CAM)


def grad_cam(
    model,
    images,
    layer=None,
    classes=None,
    method="gradcam",
    *,
    batch_size=16,
    max_detections=5,
):
    """Shows which pixels speak for a class.

    The score of a class is what a softmax or sigmoid at the end of the model
    is of. A model keeps its preprocessing: the images are what it takes. The
    maps are those of the package `grad-cam` for PyTorch. Nothing of the model
    changes, and it runs as in inference, fused or not.

    `"scorecam"` needs no gradient, but a pass forward for each channel of the
    layer; where it hides pixels, they are 0 in `images`.

    Args:
        model: Functional or built `Sequential` `keras.Model` from images to
            scores `(N, classes)`, in whatever data format, or a detector of
            `keras_epsanet.detection`.
        images: Array or tensor `(N, H, W, C)`, channels-first `(N, C, H, W)`,
            as `model` takes them.
        layer: String, name of a layer whose output has pixels and that is
            called once; in a model in the model `"backbone/conv1_conv"`, or
            `"conv1_conv"` if no other has it. `None` is the last one, of a
            detector the last one of its backbone.
        classes: Integer, or a name if the model ends in `ClassNames`: one
            for all images or a list of one for each. `None` is the class of
            the highest score. Of a detector, one class whose detections are
            explained; `None` is all.
        method: `"gradcam"`, `"gradcam++"`, `"layercam"` or `"scorecam"`; the
            last is for classifiers.
        batch_size: Integer, images that are computed at a time.
        max_detections: Integer, the best detections of an image that are
            explained, each with a pass backward.

    Returns:
        Float32 array `(N, H, W)`, one map for each image, of its size, from
        0 to 1; a map is 0 if no pixel speaks for the class. Of a detector a
        list of `DetectionMaps`, one for each image.

    Raises:
        ValueError: If an argument does not fit the model. For a name that no
            layer has, or a layer without pixels, the message lists the names
            that can be taken.

    Example:

    >>> image = keras.Input((8, 8, 1))
    >>> x = keras.layers.Conv2D(4, 3, padding="same", name="conv")(image)
    >>> x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    >>> model = keras.Model(image, keras.layers.Dense(3, "softmax")(x))
    >>> maps = grad_cam(model, np.ones((2, 8, 8, 1)), "conv", classes=1)
    >>> maps.shape
    (2, 8, 8)

    Reference: section 4.4 of [EPSANet](https://arxiv.org/abs/2105.14447), and
    [Grad-CAM](https://arxiv.org/abs/1610.02391).
    """
    images, size = check_images(model, images)
    check_positive(batch_size=batch_size, max_detections=max_detections)
    if method not in NAMES:
        raise ValueError(
            f"`method` must be one of {', '.join(NAMES)}. "
            f"Received: method={method!r}"
        )
    if isinstance(model, Detector):
        return detection_maps.explain(
            model, images, layer, classes, method, batch_size, max_detections
        )
    chosen = check_classes(model, classes, len(images))
    target = find_layer(model, layer)
    maps = []
    with before_softmax(model):
        for part in in_batches(images, batch_size):
            wanted = None if chosen is None else chosen[part]
            maps.append(
                _explain(model, target, images[part], wanted, method, size)
            )
    return np.concatenate(maps)


def _explain(model, target, images, classes, method, size):
    """Maps of one batch, `(N, H, W)`."""

    def forward(tap):
        with observed(target.layer, tap):
            scores = model(as_input(model, images), training=False)
        return _scores_of(scores, classes)

    if method != SCORE_CAM:
        activations, _, gradients = activations_and_gradients(forward)
        maps = METHODS[method](
            target.as_channels_last(activations),
            target.as_channels_last(gradients[0]),
        )
        return finish(maps, size)
    if classes is None:
        classes = run(model, images).argmax(axis=-1)
    activations, _ = activations_and_scores(forward)
    activations = target.as_channels_last(activations)
    weights = score_cam.weigh_channels(
        lambda hidden: run(model, hidden),
        images,
        activations,
        classes,
        find_data_format(model),
    )
    return finish(combine(activations, weights), size)


def _scores_of(scores, classes):
    """The score of each image that is explained, `(N, 1)`."""
    if classes is None:
        classes = keras.ops.argmax(scores, axis=-1)
    classes = keras.ops.cast(classes, "int32")
    return keras.ops.take_along_axis(scores, classes[:, None], axis=1)
