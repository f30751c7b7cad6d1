"""Rules that count the operations of attention and of recurrent layers."""

import math

from keras import layers

from keras_epsanet.graph.operations import is_relu, register
from keras_epsanet.graph.visit import first


@register("MultiHeadAttention")
def _(layer, shapes, output_shape):
    return _count_heads(
        layer,
        shapes,
        output_shape,
        heads=(layer.num_heads, layer.num_heads),
        sizes=(layer.key_dim, layer.value_dim),
        axes=layer.attention_axes,
    )


@register("GroupQueryAttention")
def _(layer, shapes, output_shape):
    return _count_heads(
        layer,
        shapes,
        output_shape,
        heads=(layer.num_query_heads, layer.num_key_value_heads),
        sizes=(layer.head_dim, layer.head_dim),
        axes=(1,),
    )


def _count_heads(layer, shapes, output_shape, heads, sizes, axes):
    query, value = shapes["query"], shapes["value"]
    key = shapes.get("key") or value
    query_heads, key_heads = heads
    key_size, value_size = sizes
    # The input and the number of outputs of every projection but the last.
    projections = [
        (query, query_heads * key_size),
        (key, key_heads * key_size),
        (value, key_heads * value_size),
    ]
    if layer.get_config()["use_gate"]:
        projections.append((query, query_heads * value_size))
    outputs = math.prod(_first_shape(output_shape))
    elements = [math.prod(x[:-1]) * units for x, units in projections]
    macs = sum(n * x[-1] for n, (x, _) in zip(elements, projections))
    # Every query meets the keys, then the values, at all places it sees.
    places = math.prod(key[axis] for axis in axes)
    pairs = math.prod(query[:-1]) * places * query_heads
    macs += pairs * (key_size + value_size)
    macs += outputs * query_heads * value_size
    biases = sum(elements) + outputs if layer.use_bias else 0
    return {"macs": macs, "biases": biases}


@register("Attention", "AdditiveAttention")
def _(layer, shapes, output_shape):
    query, value, *_ = first(shapes)
    pairs = math.prod(query[:-1]) * value[1]
    return {"macs": pairs * (query[-1] + value[-1])}


@register("Dot")
def _(layer, shapes, output_shape):
    left, _ = first(shapes)
    axes = layer.axes
    axis = axes if isinstance(axes, int) else axes[0]
    return {"macs": math.prod(output_shape) * left[axis]}


@register("RNN")
def _(layer, shapes, output_shape):
    sequence = first(shapes)
    return _count_steps(layer.cell, math.prod(sequence[:2]))


@register("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
def _(layer, shapes, output_shape):
    batch, steps = first(shapes)[:2]
    outputs = _first_shape(output_shape)
    pixels = math.prod(outputs) // batch // layer.filters
    if not layer.return_sequences:
        pixels *= steps
    return _count_gates(layer.cell, batch * pixels, layer.filters, 4, 2)


def _count_steps(cell, number):
    """Counts so many steps of a cell, `None` if it is not one of Keras'."""
    if isinstance(cell, layers.StackedRNNCells):
        parts = [_count_steps(part, number) for part in cell.cells]
        if None in parts:
            return None
        return {kind: sum(p[kind] for p in parts) for kind in parts[0]}
    if isinstance(cell, layers.SimpleRNNCell):
        return _count_gates(cell, number, cell.units, 1, 1)
    if isinstance(cell, layers.GRUCell):
        biases = 6 if cell.reset_after else 3
        return _count_gates(cell, number, cell.units, biases, 1)
    if isinstance(cell, layers.LSTMCell):
        return _count_gates(cell, number, cell.units, 4, 2)
    return None


def _count_gates(cell, number, units, biases, activations):
    """Counts the products with the kernels and what follows for each unit."""
    kernels = (cell.kernel, cell.recurrent_kernel)
    return {
        "macs": number * sum(math.prod(kernel.shape) for kernel in kernels),
        "biases": number * units * biases if cell.use_bias else 0,
        "relus": number * units * activations if is_relu(cell) else 0,
    }


def _first_shape(shapes):
    """The first of several shapes, or the only one."""
    return shapes if isinstance(shapes[0], int) else shapes[0]
