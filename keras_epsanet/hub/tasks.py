"""Trained classifiers as tasks of KerasHub, which take pixels."""

import keras

from keras_epsanet.hub.backbones import backbone_like
from keras_epsanet.hub.fronts import (
    data_format_of,
    read_front,
    scale_and_offset,
)
from keras_epsanet.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from keras_epsanet.models.presets import import_keras_hub
from keras_epsanet.weights.layer_names import CLASSIFIER, network_layers


def image_converter(
    image_size=None, mean=IMAGENET_MEAN, std=IMAGENET_STD, **kwargs
):
    """Makes KerasHub's layer that resizes and normalizes images.

    Args:
        image_size: Pair of integers, height and width; `None` for images of
            the size that they have.
        mean: Floats, of each channel of images in [0, 1]. By default the
            images become those of `preprocess_input`.
        std: Floats, standard deviations of the same.
        **kwargs: Arguments of `keras_hub.layers.ImageConverter`, such as
            `crop_to_aspect_ratio=False`.

    Returns:
        `keras_hub.layers.ImageConverter` from pixels from 0 to 255.

    Raises:
        ImportError: If KerasHub is missing.

    Example:

    >>> import numpy as np
    >>> converter = image_converter((32, 32))
    >>> converter(np.full((1, 64, 64, 3), 255.0)).shape == (1, 32, 32, 3)
    True
    """
    scale, offset = scale_and_offset(mean, std)
    return import_keras_hub().layers.ImageConverter(
        image_size=image_size, scale=scale, offset=offset, **kwargs
    )


def image_classifier(model):
    """Makes KerasHub's classifier of a trained one, from pixels to classes.

    Its preprocessor resizes and normalizes as the layers in front of the
    network do; where there are none, as `preprocess_input`. What the task
    saves with `save_to_preset` needs nothing else to be used.

    Args:
        model: An EPSANet or a ResNet of this package with its classifier,
            or a classifier that has its layers, such as the `model.keras`
            of a training.

    Returns:
        `keras_hub.models.ImageClassifier` of images with values from 0 to
        255. It predicts what the model does.

    Raises:
        ImportError: If KerasHub is missing.
        ValueError: If it is no model, has no classifier, or is none that
            KerasHub can hold (`backbone_like`).

    Example:

    >>> from keras_epsanet import EPSANet50Small
    >>> model = EPSANet50Small(classes=5, input_shape=(64, 64, 3))
    >>> task = image_classifier(model)
    >>> task.num_classes, task.preprocessor.image_size
    (5, (64, 64))
    """
    keras_hub = import_keras_hub()
    if not isinstance(model, keras.Model):
        raise ValueError(
            "`model` must be a model; `keras.saving.load_model` reads one "
            f"from a file. Received: model={model}"
        )
    predictions = network_layers(model).get(CLASSIFIER)
    if predictions is None:
        raise ValueError(
            f"The model must have a classifier, the layer {CLASSIFIER!r}. "
            f"Received: the model {model.name}"
        )
    front = read_front(model)
    converter = keras_hub.layers.ImageConverter(
        image_size=front.image_size,
        scale=front.scale,
        offset=front.offset,
        data_format=data_format_of(model),
        **(front.resizing or {"crop_to_aspect_ratio": False}),
    )
    task = keras_hub.models.ImageClassifier(
        backbone_like(model),
        num_classes=predictions.units,
        preprocessor=keras_hub.models.ImageClassifierPreprocessor(converter),
        activation=activation_of(model),
        name=model.name,
    )
    task.output_dense.set_weights(predictions.get_weights())
    return task


def activation_of(model):
    """Returns the name of what a classifier's logits go through, or `None`.

    Args:
        model: As in `image_classifier`.
    """
    predictions = network_layers(model)[CLASSIFIER]
    name = keras.activations.serialize(predictions.activation)
    if name != "linear":
        return name
    softmax = [x for x in model.layers if isinstance(x, keras.layers.Softmax)]
    return "softmax" if softmax else None
