"""The RetinaNets of KerasCV and KerasHub, on an EPSANet."""

import importlib

import numpy as np

# What average precision needs; by default they are half certain at least.
LEAST_SCORE = 0.05


def check_workers(library, workers):
    """Refuses other libraries' detectors on several workers.

    Args:
        library: `"keras_epsanet"`, `"keras_cv"` or `"keras_hub"`.
        workers: Integer.

    Raises:
        ValueError: With both.

    Example:

    >>> check_workers("keras_epsanet", 2)
    """
    if workers > 1 and library != "keras_epsanet":
        raise ValueError(
            "Detectors of other libraries train in one process. Received: "
            f"library={library} with {workers} workers"
        )


def keras_cv_retinanet(backbone, num_classes):
    """Makes KerasCV's RetinaNet, for boxes as corners.

    Args:
        backbone: `EPSANetBackbone` for images of one size.
        num_classes: Integer.

    Returns:
        `keras_cv.models.RetinaNet`.

    Raises:
        ImportError: If KerasCV is not installed.
    """
    keras_cv = _import("keras_cv")
    return keras_cv.models.RetinaNet(
        backbone,
        num_classes=num_classes,
        bounding_box_format="xyxy",
        # Not set afterwards, which has no effect on PyTorch.
        prediction_decoder=keras_cv.layers.NonMaxSuppression(
            "xyxy", from_logits=True, confidence_threshold=LEAST_SCORE
        ),
    )


def keras_hub_retinanet(backbone, num_classes):
    """Makes KerasHub's RetinaNet, for boxes as corners, with a better start.

    KerasHub 0.32 puts the prior of the classes on the boxes, and starts with
    kernels five times as large as others', whose losses are in the hundreds.

    Args:
        backbone: `EPSANetBackbone` for images of one size.
        num_classes: Integer.

    Returns:
        `keras_hub.models.RetinaNetObjectDetector`.

    Raises:
        ImportError: If KerasHub is not installed.
    """
    keras_hub = _import("keras_hub")
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
    for head in (model.box_head, model.classification_head):
        for weight in head.trainable_variables:
            weight.assign(weight / 5)
    prior = model.classification_head.prediction_layer.bias
    prior.assign(np.full(prior.shape, -np.log(99)))
    wrong = model.box_head.prediction_layer.bias
    wrong.assign(np.zeros(wrong.shape))
    model.prediction_decoder = keras_hub.layers.NonMaxSuppression(
        "xyxy", from_logits=True, confidence_threshold=LEAST_SCORE
    )
    return model


def _import(name):
    """Imports a library, or says how to install it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ImportError(
            f"Its RetinaNet needs {name}: pip install {name}"
        ) from error
