"""The layers of a model whose output is an image, by their names."""

import difflib
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_epsanet.graph.visit import is_functional
from keras_epsanet.weights.graph_parts import sorted_nodes


class Target(NamedTuple):
    """A layer whose output is explained.

    Attributes:
        layer: Keras layer.
        data_format: `"channels_last"` or `"channels_first"`, of its output.
    """

    layer: Any
    data_format: str

    def as_channels_last(self, array):
        """Returns an array of the layer's output with the channels last.

        Args:
            array: Array `(..., H, W, C)`, or with channels first
                `(..., C, H, W)`.
        """
        if self.data_format == "channels_last":
            return array
        return np.moveaxis(array, -3, -1)


def all_calls(model, prefix=""):
    """Lists the calls in the graph of a model and of the models in it.

    Args:
        model: Functional or built `Sequential` `keras.Model`.
        prefix: String in front of the names.

    Returns:
        Dictionary from the name of each layer, behind those of the models it
        is in, to a pair of the layer and a list of its outputs, one for each
        call. Layers are in the order of their calls.
    """
    found = {}
    for node in sorted_nodes(model):
        layer = node.operation
        name = prefix + layer.name
        if is_functional(layer):
            for path, (inner, outputs) in all_calls(layer, f"{name}/").items():
                found.setdefault(path, (inner, []))[1].extend(outputs)
        found.setdefault(name, (layer, []))[1].append(node.outputs)
    return found


def find_data_format(model):
    """Returns where the channels are, as the first layer that knows says.

    Args:
        model: Functional or built `Sequential` `keras.Model`.

    Returns:
        `"channels_last"` or `"channels_first"`.
    """
    for layer, _ in all_calls(model).values():
        data_format = getattr(layer, "data_format", None)
        if data_format is not None:
            return data_format
    return keras.config.image_data_format()


def find_layer(model, name, last_of=None):
    """Finds a layer whose output has pixels.

    Args:
        model: Functional or built `Sequential` `keras.Model`.
        name: String, the name of the layer, with those of the models it is
            in before it (`"backbone/conv1_conv"`) or without, if no other
            has it; `None` for the last one.
        last_of: Optional set of names, those that `None` is looked for
            among, if any of them is there.

    Returns:
        `Target`.

    Raises:
        ValueError: If there is no such layer, it has no pixels, or it is
            called more than once. The message lists those that can be taken.
    """
    calls, default = all_calls(model), find_data_format(model)
    targets = {
        path: Target(layer, getattr(layer, "data_format", None) or default)
        for path, (layer, _) in calls.items()
    }
    reasons = {
        path: _reason_against(outputs, targets[path].data_format)
        for path, (_, outputs) in calls.items()
    }
    usable = [path for path, reason in reasons.items() if reason is None]
    if name is None and not usable:
        raise ValueError(
            "`model` has no layer with pixels that is called once. "
            f"Received: model={model}"
        )
    if name is None:
        wanted = [path for path in usable if path in (last_of or usable)]
        return targets[(wanted or usable)[-1]]
    matches = [name] if name in calls else []
    matches = matches or [x for x in calls if x.endswith(f"/{name}")]
    if len(matches) == 1 and reasons[matches[0]] is None:
        return targets[matches[0]]
    if not matches:
        problem = f"There is no layer {name!r}" + _meant(name, usable)
    elif len(matches) > 1:
        problem = f"{name!r} may be {' or '.join(matches)}"
    else:
        problem = f"Layer {matches[0]} {reasons[matches[0]]}"
    names = ", ".join(usable) or "none"
    raise ValueError(
        f"{problem}. Layers that can be explained: {names}. "
        f"Received: layer={name!r}"
    )


def _meant(name, usable):
    leaves = {path.rpartition("/")[2]: path for path in usable}
    close = difflib.get_close_matches(str(name), {**leaves}, n=3)
    close = [leaves[leaf] for leaf in close]
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def _reason_against(outputs, data_format):
    """Why the pixels of a layer's output cannot be explained, or `None`."""
    if len(outputs) > 1:
        return (
            f"is called {len(outputs)} times: which of its outputs is meant "
            "is not known"
        )
    if len(outputs[0]) > 1:
        return "has several outputs"
    shape = outputs[0][0].shape
    sides = shape[1:3] if data_format == "channels_last" else shape[2:]
    if len(shape) != 4 or tuple(sides) == (1, 1):
        return (
            "has no spatial output, which a map needs: its shape is "
            f"{tuple(shape)}"
        )
    return None
