"""Parameters and operations of a model, counted as the paper counts them."""

import dataclasses
import functools
import math
from typing import NamedTuple

import keras

# What one operation of each kind adds to the FLOPs. Table 2 of the paper
# counts multiply-adds and BatchNorm only; table 3 was made with
# MMDetection's counter, which has these five kinds.
CONVENTIONS = {
    "table2": {"macs": 1, "normalized": 2},
    "table3": {
        "macs": 1,
        "biases": 1,
        "normalized": 2,
        "relus": 1,
        "pooled": 1,
    },
}


class LayerComplexity(NamedTuple):
    """One call of a layer: the counts for one image.

    Attributes:
        name: String, name of the layer, behind those of the models it is
            in: `"backbone/conv1_conv"`.
        output_shape: Tuple, or a structure of them; the batch is 1.
        parameters: Integer, trainable ones that no earlier record has.
        macs: Integer, multiply-adds of convolutions and linear layers.
        flops: Integer, FLOPs in the convention asked for.
    """

    name: str
    output_shape: tuple
    parameters: int
    macs: int
    flops: int


@dataclasses.dataclass(frozen=True)
class Complexity:
    """Counts of a model for one image; as a string, a table with totals.

    Attributes:
        parameters: Integer, number of trainable parameters.
        layers: Tuple of `LayerComplexity`, one for each call of a layer, in
            the order of the graph.
        convention: String, convention of the FLOPs.
        macs: Integer, multiply-adds of all layers.
        flops: Integer, FLOPs of all layers.
    """

    parameters: int
    layers: tuple
    convention: str

    @property
    def macs(self):
        return sum(layer.macs for layer in self.layers)

    @property
    def flops(self):
        return sum(layer.flops for layer in self.layers)

    def __str__(self):
        rows = [
            (layer.name, _format_shape(layer.output_shape), *layer[2:])
            for layer in self.layers
            if layer.parameters or layer.flops
        ]
        rows.append(("total", "", self.parameters, self.macs, self.flops))
        flops = f"FLOPs ({self.convention})"
        header = ("layer", "output shape", "parameters", "multiply-adds", flops)
        lines = [header] + [
            (*row[:2], *(f"{number:,}" for number in row[2:])) for row in rows
        ]
        widths = [max(map(len, column)) for column in zip(*lines)]
        lines = [
            "  ".join(
                cell.ljust(width) if i < 2 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths))
            )
            for line in lines
        ]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def complexity(model, input_shape=None, convention="table2"):
    """Counts the trainable parameters and the operations of a model.

    Operations are those of one image. They are counted for every call of a
    layer, parameters once. The FLOPs depend on the convention:

    | | `"table2"` | `"table3"` |
    | --- | --- | --- |
    | multiply-add of a convolution or linear layer | 1 | 1 |
    | output element with a bias | 0 | 1 |
    | output element of a BatchNorm | 2 | 2 |
    | output element of a ReLU, also as `activation="relu"` | 0 | 1 |
    | input element of a maximum or average pooling layer | 0 | 1 |

    A transposed convolution is counted at its input size. Nothing is counted
    for other layers without weights and for operations of `keras.ops` that
    are not layers.

    A layer of your own counts for itself if it has a method
    `count_operations(input_shape)`. It gets the shape of the layer's first
    argument (for a list of tensors a list of shapes) and returns a
    dictionary of the numbers of operations for one image, with any of the
    keys `"macs"`, `"biases"`, `"normalized"`, `"relus"` and `"pooled"`: the
    five rows of the table.

    Args:
        model: Functional or built `Sequential` `keras.Model`, which may
            contain further ones. It is not changed.
        input_shape: Optional shape of one image, such as `(800, 1280, 3)`,
            or a list of the shapes of all inputs: needed if the model leaves
            a size open.
        convention: `"table2"` or `"table3"`, the table of the paper whose
            FLOPs are counted.

    Returns:
        A `Complexity`, with `parameters`, `macs`, `flops` and `layers`.

    Raises:
        ValueError: If the model is not functional, a size is not known, or a
            layer has weights and nothing says what it computes.

    Example:

    >>> image = keras.Input((32, 32, 3))
    >>> x = keras.layers.Conv2D(8, 3, use_bias=False, name="conv")(image)
    >>> x = keras.layers.BatchNormalization(name="norm")(x)
    >>> print(complexity(keras.Model(image, x)))
    layer  output shape  parameters  multiply-adds  FLOPs (table2)
    --------------------------------------------------------------
    conv   1×30×30×8            216        194,400         194,400
    norm   1×30×30×8             16              0          14,400
    --------------------------------------------------------------
    total                       232        194,400         208,800
    """
    if convention not in CONVENTIONS:
        raise ValueError(
            f"`convention` must be one of {', '.join(CONVENTIONS)}. "
            f"Received: convention={convention}"
        )
    if not _is_functional(model):
        raise ValueError(
            "`model` must be a functional model or a Sequential one that is "
            f"built: only its graph can be counted. Received: model={model}"
        )
    records = []
    seen = set()
    for name, layer, output_shape, counts in _calls(
        model, _batch_shapes(model, input_shape)
    ):
        weights = {id(weight): weight for weight in layer.trainable_weights}
        parameters = _size(weights[i] for i in weights.keys() - seen)
        seen.update(weights)
        macs = counts.get("macs", 0)
        flops = sum(
            factor * counts.get(kind, 0)
            for kind, factor in CONVENTIONS[convention].items()
        )
        records.append(
            LayerComplexity(name, output_shape, parameters, macs, flops)
        )
    parameters = _size(model.trainable_weights)
    return Complexity(parameters, tuple(records), convention)


def _size(weights):
    return sum(math.prod(weight.shape) for weight in weights)


def _format_shape(shape):
    if isinstance(shape, dict):
        shape = tuple(shape.values())
    if shape and isinstance(shape[0], (tuple, list, dict)):
        return ", ".join(map(_format_shape, shape))
    return "×".join(map(str, shape))


def _shape(tensor):
    return tuple(getattr(tensor, "shape", ()))


def _is_functional(layer):
    # An unbuilt Sequential raises AttributeError for its inputs.
    return isinstance(layer, keras.Model) and hasattr(layer, "inputs")


def _batch_shapes(model, input_shape):
    """Returns the shapes of all inputs for a batch of one image."""
    known = [tuple(x.shape[1:]) for x in model.inputs]
    shapes = known
    if input_shape is not None:
        several = isinstance(input_shape[0], (tuple, list))
        shapes = list(input_shape) if several else [input_shape]
        if [len(shape) for shape in shapes] != [len(shape) for shape in known]:
            raise ValueError(
                "`input_shape` must have the dimensions of one image, "
                f"without the batch; the model takes {known}. "
                f"Received: input_shape={input_shape}"
            )
        for sizes in zip(shapes, known):
            if any(size not in (s, None) for s, size in zip(*sizes)):
                raise ValueError(
                    f"`input_shape` must agree with the model, which takes "
                    f"{known}. Received: input_shape={input_shape}"
                )
    if any(None in shape for shape in shapes):
        raise ValueError(
            f"The sizes of the input must be known; the model takes {known}. "
            "Give the others with `input_shape`. "
            f"Received: input_shape={input_shape}"
        )
    return [(1, *shape) for shape in shapes]


class _ShapeOf(keras.Operation):
    """Stands for a layer, so that a call adds no node to the layer."""

    def __init__(self, operation):
        super().__init__(name=operation.name)
        self.operation = operation

    def compute_output_spec(self, *args, **kwargs):
        return self.operation.compute_output_spec(*args, **kwargs)


def _calls(model, batch_shapes):
    """Returns the name, layer, output shape and counts of every call."""
    calls = []
    # One for all calls of a layer: the names in a graph must be unique.
    shape_of = functools.cache(_ShapeOf)

    def record(operation, *args, **kwargs):
        outputs = shape_of(operation)(*args, **kwargs)
        if isinstance(operation, keras.Layer):
            inputs = args[0] if args else next(iter(kwargs.values()))
            calls.extend(_calls_of(operation, inputs, outputs))
        return outputs

    keras.models.clone_model(
        keras.Model(model.inputs, model.outputs, name=model.name),
        input_tensors=[
            keras.Input(batch_shape=shape, dtype=x.dtype, name=x.name)
            for shape, x in zip(batch_shapes, model.inputs)
        ],
        clone_function=lambda layer: layer,
        call_function=record,
    )
    return calls


def _calls_of(layer, inputs, outputs):
    """Returns the calls of one layer, or of all in it if it is a model."""
    input_shape = keras.tree.map_structure(_shape, inputs)
    output_shape = keras.tree.map_structure(_shape, outputs)
    input_shapes = [_shape(x) for x in keras.tree.flatten(inputs)]
    if hasattr(layer, "count_operations"):
        _check_known(layer, input_shapes)
        counts = {
            kind: number * input_shapes[0][0]
            for kind, number in layer.count_operations(input_shape).items()
        }
        if not counts.keys() <= CONVENTIONS["table3"].keys():
            raise ValueError(
                f"`count_operations` of layer {layer.name} must return a "
                f"dictionary with the keys {', '.join(CONVENTIONS['table3'])}. "
                f"Received: {counts}"
            )
    elif _is_functional(layer):
        return [
            (f"{layer.name}/{name}", *rest)
            for name, *rest in _calls(layer, input_shapes)
        ]
    else:
        if _count.dispatch(type(layer)) is not _count.dispatch(object):
            _check_known(layer, [*input_shapes, output_shape])
        counts = _count(layer, input_shape, output_shape)
    return [(layer.name, layer, output_shape, counts)]


def _check_known(layer, shapes):
    if any(None in shape for shape in shapes):
        raise ValueError(
            f"Layer {layer.name} cannot be counted: the graph leaves sizes "
            f"of its inputs or outputs open. Received: shapes={shapes}"
        )


@functools.singledispatch
def _count(layer, input_shape, output_shape):
    """Returns a dictionary of the numbers of operations of one call."""
    if layer.weights or isinstance(layer, keras.layers.Wrapper):
        raise ValueError(
            f"Nothing says how to count layer {layer.name} of class "
            f"{type(layer).__name__}. If the class is yours, give it a "
            "method `count_operations(input_shape)`, as `complexity` "
            f"describes it. Received: {layer}"
        )
    return {}


@_count.register(keras.layers.Conv1D)
@_count.register(keras.layers.Conv2D)
@_count.register(keras.layers.Conv3D)
def _count_convolution(layer, input_shape, output_shape):
    channels = input_shape[_channel_axis(layer)] // layer.groups
    macs = math.prod(output_shape) * math.prod(layer.kernel_size) * channels
    return {"macs": macs, **_count_bias_and_activation(layer, output_shape)}


@_count.register(keras.layers.Conv1DTranspose)
@_count.register(keras.layers.Conv2DTranspose)
@_count.register(keras.layers.Conv3DTranspose)
def _count_transposed(layer, input_shape, output_shape):
    kernel = math.prod(layer.kernel_size) * layer.filters
    return {
        "macs": math.prod(input_shape) * kernel,
        **_count_bias_and_activation(layer, output_shape),
    }


@_count.register(keras.layers.DepthwiseConv1D)
@_count.register(keras.layers.DepthwiseConv2D)
def _count_depthwise(layer, input_shape, output_shape):
    return {
        "macs": math.prod(output_shape) * math.prod(layer.kernel_size),
        **_count_bias_and_activation(layer, output_shape),
    }


@_count.register(keras.layers.SeparableConv1D)
@_count.register(keras.layers.SeparableConv2D)
def _count_separable(layer, input_shape, output_shape):
    channels = input_shape[_channel_axis(layer)] * layer.depth_multiplier
    positions = math.prod(output_shape) // layer.filters
    kernel = math.prod(layer.kernel_size) + layer.filters
    return {
        "macs": positions * channels * kernel,
        **_count_bias_and_activation(layer, output_shape),
    }


@_count.register(keras.layers.Dense)
def _count_dense(layer, input_shape, output_shape):
    return {
        "macs": math.prod(output_shape) * input_shape[-1],
        **_count_bias_and_activation(layer, output_shape),
    }


@_count.register(keras.layers.BatchNormalization)
def _count_normalization(layer, input_shape, output_shape):
    return {"normalized": math.prod(output_shape)}


@_count.register(keras.layers.ReLU)
@_count.register(keras.layers.Activation)
def _count_activation(layer, input_shape, output_shape):
    return {"relus": math.prod(output_shape) if _is_relu(layer) else 0}


def _count_pooling(layer, input_shape, output_shape):
    return {"pooled": math.prod(input_shape)}


for _kind in ("Max", "Average"):
    for _extent in ("", "Global", "Adaptive"):
        for _rank in (1, 2, 3):
            _name = f"{_extent}{_kind}Pooling{_rank}D"
            _count.register(getattr(keras.layers, _name), _count_pooling)


def _count_bias_and_activation(layer, output_shape):
    elements = math.prod(output_shape)
    return {
        "biases": elements if layer.use_bias else 0,
        "relus": elements if _is_relu(layer) else 0,
    }


def _is_relu(layer):
    if isinstance(layer, keras.layers.ReLU):
        return True
    activation = layer.activation
    return activation is keras.activations.relu or isinstance(
        activation, keras.layers.ReLU
    )


def _channel_axis(layer):
    return 1 if layer.data_format == "channels_first" else -1
