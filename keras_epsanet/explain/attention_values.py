"""What attention weighs, layer by layer: the numbers that are drawn."""

from typing import Any, NamedTuple

import numpy as np


class LayerAttention(NamedTuple):
    """What one layer weighs. What it does not weigh is `None`.

    Attributes:
        name: String, name of the layer, behind those of the models it is in.
        kind: String, its class.
        stage: String, the stage it is in, as `"conv2"`.
        scale_names: Tuple of strings, one for each of S scales: `"3×3"`.
        scales: Float32 array `(N, S, C / S)`, 1 in sum over the scales
            (C channels each, of layers that add their scales).
        scale_maps: Float32 array `(N, S, h, w)`, the mean absolute value of
            what a scale passes on. Of PSA.
        channels: Float32 array `(N, C)`, the factor of each channel; the
            mean over the pixels if it differs among them. NaN where the
            input is 0.
        pixels: Float32 array `(N, h, w)`, the factor of each pixel, the mean
            over the channels if it differs among them.
    """

    name: str
    kind: str
    stage: str
    scale_names: tuple = ()
    scales: Any = None
    scale_maps: Any = None
    channels: Any = None
    pixels: Any = None


class Attention(NamedTuple):
    """What all layers of a model weigh in some images.

    Attributes:
        layers: List of `LayerAttention`, in the order of their calls.
        predicted: Int64 array `(N,)`, the class of the highest score, or
            `None` of a model without classes.
        class_names: List of strings, or `None` if the model does not know.
    """

    layers: list
    predicted: Any
    class_names: Any

    def scales_by_stage(self):
        """Returns the mean weight of each scale in each stage.

        Over the blocks and channels of a stage: which size of kernel decides.

        Returns:
            Dictionary from stage to a float32 array `(N, S)`, 1 in sum.
        """
        stages = {}
        for layer in self.layers:
            if layer.scales is not None:
                means = layer.scales.mean(axis=-1)
                stages.setdefault(layer.stage, []).append(means)
        return {k: np.mean(v, axis=0) for k, v in stages.items()}


def layers_with(found, key, missing=None):
    """Returns the layers that have values of a kind.

    Args:
        found: `Attention`.
        key: `"scales"`, `"scale_maps"`, `"channels"` or `"pixels"`.
        missing: String, what an error says if there are none; `None` returns
            an empty list.

    Returns:
        List of `LayerAttention`.

    Raises:
        ValueError: If there are none and `missing` says what that means.

    Example:

    >>> layer = LayerAttention("se", "SE", "conv2", channels=np.ones((1, 4)))
    >>> found = Attention([layer], None, None)
    >>> len(layers_with(found, "channels")), len(layers_with(found, "pixels"))
    (1, 0)
    """
    layers = [x for x in found.layers if getattr(x, key) is not None]
    if missing and not layers:
        kinds = sorted({x.kind for x in found.layers})
        raise ValueError(f"{missing}. Received: layers of {kinds}")
    return layers


def merge(parts):
    """Returns one `Attention` of those of several batches.

    Args:
        parts: Iterable of `Attention` of one model.

    Returns:
        `Attention` without maps, whose sizes may differ.
    """
    first, *rest = parts
    layers = []
    for layer, *others in zip(first.layers, *(x.layers for x in rest)):
        arrays = {"scale_maps": None, "pixels": None}
        for key in ("scales", "channels"):
            values = [getattr(x, key) for x in (layer, *others)]
            arrays[key] = None if values[0] is None else np.concatenate(values)
        layers.append(layer._replace(**arrays))
    predicted = first.predicted
    if predicted is not None:  # Of a detector there is none.
        predicted = np.concatenate([x.predicted for x in (first, *rest)])
    return first._replace(layers=layers, predicted=predicted)
