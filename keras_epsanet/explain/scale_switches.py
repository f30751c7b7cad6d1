"""What a classifier can do without one of its scales."""

import contextlib
from typing import NamedTuple

import numpy as np
from keras import ops

from keras_epsanet.explain.attention_weights import (
    SCALES,
    find_attention,
    scale_names,
    stage_of,
)
from keras_epsanet.explain.labeled_batches import labeled_batches
from keras_epsanet.explain.model_inputs import run
from keras_epsanet.explain.replaced import replaced
from keras_epsanet.graph.visit import check_functional
from keras_epsanet.integers import check_positive

ALL = "all"


class ScaleAblation(NamedTuple):
    """Accuracy of a classifier, and what is left without one scale.

    Attributes:
        images: Integer, the number of images.
        accuracy: Float, the share of them that is classified right.
        without: Dictionary from stage to a dictionary from the name of each
            scale to the accuracy without it: `without["conv2"]["3×3"]`. The
            last stage is `"all"`: without this scale in every stage.
    """

    images: int
    accuracy: float
    without: dict


def scale_ablation(model, data, *, batch_size=32):
    """Measures the accuracy when one scale is switched off, by stage.

    Of PSA, selective kernels and split attention: the weights of the scale
    are 0 in all blocks of a stage, those of the others as they were. Nothing
    of the model changes. Each batch runs once for every scale of every stage
    and of all of them, 21 times in EPSANet-50.

    Args:
        model: Functional or built `Sequential` classifier with such layers.
        data: Pair of images and classes, or an iterable of batches that are
            such pairs, as a `tf.data.Dataset`. Images are as `model` takes
            them; classes are integers `(N,)` or one-hot `(N, classes)`.
        batch_size: Integer, images that are computed at a time, where they
            are not in batches yet.

    Returns:
        `ScaleAblation`.

    Raises:
        ValueError: If the model has no such layer, or the data do not fit.

    Example:

    >>> from keras_epsanet import EPSANet
    >>> model = EPSANet(
    ...     (1,), (64,), (3, 5), (1, 4), input_shape=(32, 32, 3), classes=2
    ... )
    >>> found = scale_ablation(model, (np.ones((4, 32, 32, 3)), [0, 1, 0, 1]))
    >>> found.accuracy, list(found.without["conv2"])
    (0.5, ['3×3', '5×5'])
    """
    check_functional(model)
    check_positive(batch_size=batch_size)
    switches = _find_switches(model)
    hits, images = dict.fromkeys([None, *switches], 0), 0
    for batch, labels in labeled_batches(model, data, batch_size):
        images += len(batch)
        for switch in hits:
            with _switched_off(switches.get(switch, ())):
                predicted = run(model, batch).argmax(axis=-1)
            hits[switch] += int((predicted == labels).sum())
    without = {}
    for stage, name in switches:
        accuracy = hits[stage, name] / images
        without.setdefault(stage, {})[name] = accuracy
    return ScaleAblation(images, hits[None] / images, without)


def _find_switches(model):
    """Pairs of layer and index of a scale, by stage and name of the scale."""
    stages = {}
    for path, layer in find_attention(model, SCALES).items():
        stages.setdefault(stage_of(path, layer), []).append(layer)
    if not stages:
        raise ValueError(
            "`model` must have layers of "
            f"{', '.join(kind.__name__ for kind in SCALES)}. "
            f"Received: model={model}"
        )
    switches = {}
    everywhere = [layer for layers in stages.values() for layer in layers]
    for stage, layers in {**stages, ALL: everywhere}.items():
        for layer in layers:
            for index, name in enumerate(scale_names(layer)):
                switches.setdefault((stage, name), []).append((layer, index))
    return switches


@contextlib.contextmanager
def _switched_off(layers):
    with contextlib.ExitStack() as stack:
        for layer, index in layers:
            compete = _without(layer.compete, index)
            stack.enter_context(replaced(layer, "compete", compete))
        yield


def _without(compete, index):
    def compete_without(weights):
        weights = compete(weights)
        is_left = np.arange(weights.shape[1]) != index
        return weights * ops.cast(is_left[:, None], weights.dtype)

    return compete_without
