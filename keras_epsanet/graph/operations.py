"""Rules that count the operations of a layer."""

import functools
import itertools
import math
import re

import keras
from keras import layers

from keras_epsanet.graph.visit import einsum_sizes, first

# What one operation of each kind adds to the FLOPs. Table 2 of the paper
# counts multiply-adds and BatchNorm only; table 3 was made with
# MMDetection's counter, which has these five kinds.
CONVENTIONS = {
    "table2": dict(macs=1, normalized=2),
    "table3": dict(macs=1, biases=1, normalized=2, relus=1, pooled=1),
}
# Products of activations are part of neither: they are listed apart.
KINDS = (*CONVENTIONS["table3"], "products")


def count_call(layer, shapes, output_shape):
    """Counts the operations of one call of a layer.

    Args:
        layer: Keras layer.
        shapes: Dictionary from the names of its arguments to their shapes.
        output_shape: Shape of its output, or a structure of them.

    Returns:
        A dictionary of numbers of operations, or `None` if they are not
        known.

    Raises:
        ValueError: If the layer can be counted, but a size is not known.
    """
    if hasattr(layer, "count_operations"):
        _check_sizes(layer, shapes, output_shape)
        return _count_itself(layer, first(shapes))
    count = _count.dispatch(type(layer))
    if count is _count.dispatch(object):
        return count(layer, shapes, output_shape)
    _check_sizes(layer, shapes, output_shape)
    return count(layer, shapes, output_shape)


def calls_within(layer, shapes):
    """Returns the calls that a layer makes of the layers it wraps.

    Args:
        layer: Keras layer.
        shapes: Dictionary from the names of its arguments to their shapes.

    Returns:
        List of pairs of a layer and the shape of its input.
    """
    shape = first(shapes)
    if isinstance(layer, layers.TimeDistributed):
        _check_sizes(layer, shapes, ())
        return [(layer.layer, (shape[0] * shape[1], *shape[2:]))]
    if isinstance(layer, layers.Bidirectional):
        return [(layer.forward_layer, shape), (layer.backward_layer, shape)]
    if isinstance(layer, layers.SpectralNormalization):
        return [(layer.layer, shape)]
    return []


def _check_sizes(layer, shapes, output_shape):
    if None in keras.tree.flatten((shapes, output_shape)):
        raise ValueError(
            f"Layer {layer.name} cannot be counted: the graph leaves sizes "
            f"open. Received: {shapes=}, {output_shape=}"
        )


def _count_itself(layer, input_shape):
    counts = layer.count_operations(input_shape)
    if not counts.keys() <= set(KINDS):
        raise ValueError(
            f"`count_operations` of layer {layer.name} must return a "
            f"dictionary with the keys {', '.join(KINDS)}. "
            f"Received: {counts}"
        )
    batch = keras.tree.flatten(input_shape)[0]
    return {kind: batch * number for kind, number in counts.items()}


@functools.singledispatch
def _count(layer, shapes, output_shape):
    holders = (layers.Wrapper, keras.Model)
    return None if layer.weights or isinstance(layer, holders) else {}


def register(*names):
    """Registers a function for classes of `keras.layers` by their names."""

    def register_function(count):
        for name in names:
            _count.register(getattr(layers, name), count)
        return count

    return register_function


def _linear(*names):
    """Registers a function that returns the multiply-adds of the classes."""

    def register_macs(count_macs):
        def count(layer, shapes, output_shape):
            elements = math.prod(output_shape)
            return {
                "macs": count_macs(layer, first(shapes), output_shape),
                "biases": elements if layer.bias is not None else 0,
                "relus": elements if is_relu(layer) else 0,
            }

        return register(*names)(count)

    return register_macs


@_linear("Conv1D", "Conv2D", "Conv3D")
def _(layer, input_shape, output_shape):
    channels = input_shape[_channel_axis(layer)] // layer.groups
    return math.prod(output_shape) * math.prod(layer.kernel_size) * channels


@_linear("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
def _(layer, input_shape, output_shape):
    return math.prod((*input_shape, *layer.kernel_size, layer.filters))


@_linear("DepthwiseConv1D", "DepthwiseConv2D")
def _(layer, input_shape, output_shape):
    return math.prod(output_shape) * math.prod(layer.kernel_size)


@_linear("SeparableConv1D", "SeparableConv2D")
def _(layer, input_shape, output_shape):
    channels = input_shape[_channel_axis(layer)] * layer.depth_multiplier
    positions = math.prod(output_shape) // layer.filters
    return positions * channels * (math.prod(layer.kernel_size) + layer.filters)


@_linear("Dense")
def _(layer, input_shape, output_shape):
    return math.prod(output_shape) * input_shape[-1]


@_linear("EinsumDense")
def _(layer, input_shape, output_shape):
    names, _, outputs = re.split(",|->", layer.equation)
    sizes = einsum_sizes(names, input_shape)
    summed = [size for name, size in sizes.items() if name not in outputs]
    return math.prod(output_shape) * math.prod(summed)


@register(
    "BatchNormalization",
    "GroupNormalization",
    "LayerNormalization",
    "RMSNormalization",
    "UnitNormalization",
)
def _(layer, shapes, output_shape):
    return {"normalized": math.prod(output_shape)}


@register("Embedding", "Normalization")
def _(layer, shapes, output_shape):
    return {}


@register("ReversibleEmbedding")
def _(layer, shapes, output_shape):
    inputs = first(shapes)
    is_reverse = len(inputs) == len(output_shape)
    return {"macs": math.prod(output_shape) * inputs[-1] if is_reverse else 0}


@register("Activation", "ELU", "LeakyReLU", "PReLU", "ReLU")
def _(layer, shapes, output_shape):
    return {"relus": math.prod(output_shape) if is_relu(layer) else 0}


def _count_pooling(layer, shapes, output_shape):
    return {"pooled": math.prod(first(shapes))}


for _name in itertools.product(
    ("", "Global", "Adaptive"), ("Max", "Average"), ("Pooling",), "123", "D"
):
    register("".join(_name))(_count_pooling)


def is_relu(layer):
    """Whether a layer is, or ends in, a ReLU or one of its kind."""
    function = getattr(layer, "activation", layer)
    return function in _RELUS or isinstance(function, _RELU_LAYERS)


_RELUS = tuple(
    getattr(keras.activations, name)
    for name in ("elu", "leaky_relu", "relu", "relu6")
)
_RELU_LAYERS = (layers.ELU, layers.LeakyReLU, layers.PReLU, layers.ReLU)


def _channel_axis(layer):
    return 1 if layer.data_format == "channels_first" else -1
