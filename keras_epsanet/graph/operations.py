"""Rules that count the operations of a layer."""

import functools
import itertools
import math

import keras

# What one operation of each kind adds to the FLOPs. Table 2 of the paper
# counts multiply-adds and BatchNorm only; table 3 was made with
# MMDetection's counter, which has these five kinds.
CONVENTIONS = {
    "table2": dict(macs=1, normalized=2),
    "table3": dict(macs=1, biases=1, normalized=2, relus=1, pooled=1),
}


def count_call(layer, input_shape, output_shape):
    """Returns a dictionary of the numbers of operations of one call."""
    count = _count.dispatch(type(layer))
    if hasattr(layer, "count_operations"):
        count = _count_itself
    sizes = keras.tree.flatten((input_shape, output_shape))
    if None in sizes and count is not _count.dispatch(object):
        raise ValueError(
            f"Layer {layer.name} cannot be counted: the graph leaves sizes "
            f"open. Received: {input_shape=}, {output_shape=}"
        )
    return count(layer, input_shape, output_shape)


def _count_itself(layer, input_shape, output_shape):
    counts = layer.count_operations(input_shape)
    if not counts.keys() <= CONVENTIONS["table3"].keys():
        raise ValueError(
            f"`count_operations` of layer {layer.name} must return a "
            f"dictionary with the keys {', '.join(CONVENTIONS['table3'])}. "
            f"Received: {counts}"
        )
    batch = keras.tree.flatten(input_shape)[0]
    return {kind: batch * number for kind, number in counts.items()}


@functools.singledispatch
def _count(layer, input_shape, output_shape):
    if layer.weights or isinstance(layer, keras.layers.Wrapper):
        raise ValueError(
            f"Nothing says how to count layer {layer.name} of class "
            f"{type(layer).__name__}: a class of your own can have a method "
            f"`count_operations(input_shape)` for that. Received: {layer}"
        )
    return {}


def _linear(*classes):
    """Registers a function that returns the multiply-adds of `classes`."""

    def register(count_macs):
        def count(layer, input_shape, output_shape):
            elements = math.prod(output_shape)
            return {
                "macs": count_macs(layer, input_shape, output_shape),
                "biases": elements if layer.use_bias else 0,
                "relus": elements if _is_relu(layer) else 0,
            }

        for cls in classes:
            _count.register(cls, count)

    return register


@_linear(keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
def _(layer, input_shape, output_shape):
    channels = input_shape[_channel_axis(layer)] // layer.groups
    return math.prod(output_shape) * math.prod(layer.kernel_size) * channels


@_linear(
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
def _(layer, input_shape, output_shape):
    return math.prod((*input_shape, *layer.kernel_size, layer.filters))


@_linear(keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
def _(layer, input_shape, output_shape):
    return math.prod(output_shape) * math.prod(layer.kernel_size)


@_linear(keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
def _(layer, input_shape, output_shape):
    channels = input_shape[_channel_axis(layer)] * layer.depth_multiplier
    positions = math.prod(output_shape) // layer.filters
    return positions * channels * (math.prod(layer.kernel_size) + layer.filters)


@_linear(keras.layers.Dense)
def _(layer, input_shape, output_shape):
    return math.prod(output_shape) * input_shape[-1]


@_count.register(keras.layers.BatchNormalization)
def _(layer, input_shape, output_shape):
    return {"normalized": math.prod(output_shape)}


@_count.register(keras.layers.Normalization)
def _count_nothing(layer, input_shape, output_shape):
    return {}


@_count.register(keras.layers.ReLU)
@_count.register(keras.layers.Activation)
def _(layer, input_shape, output_shape):
    return {"relus": math.prod(output_shape) if _is_relu(layer) else 0}


def _count_pooling(layer, input_shape, output_shape):
    return {"pooled": math.prod(input_shape)}


for _name in itertools.product(
    ("", "Global", "Adaptive"), ("Max", "Average"), ("Pooling",), "123", "D"
):
    _count.register(getattr(keras.layers, "".join(_name)), _count_pooling)


def _is_relu(layer):
    function = getattr(layer, "activation", layer)
    relu = keras.activations.relu
    return function is relu or isinstance(function, keras.layers.ReLU)


def _channel_axis(layer):
    return 1 if layer.data_format == "channels_first" else -1
