"""Parameters and operations of a model, counted as the paper counts them."""

import dataclasses
import math
from typing import NamedTuple

import keras

from keras_epsanet.graph import sequence_operations  # noqa: F401
from keras_epsanet.graph.operations import (
    CONVENTIONS,
    calls_within,
    count_call,
)
from keras_epsanet.graph.visit import (
    check_functional,
    first,
    is_functional,
    visit_calls,
)


class LayerComplexity(NamedTuple):
    """One call of a layer: the counts for one image.

    Attributes:
        name: String, name of the layer, behind those of the models it is
            in: `"backbone/conv1_conv"`.
        output_shape: Tuple, or a structure of them; the batch is 1.
        parameters: Integer, trainable ones that no earlier record has.
        macs: Integer, multiply-adds of convolutions and linear layers; 0 if
            the layer is one of `Complexity.uncounted`.
        flops: Integer, FLOPs in the convention asked for.
        products: Integer, multiply-adds of activations with activations,
            which are part of neither.
    """

    name: str
    output_shape: tuple
    parameters: int
    macs: int
    flops: int
    products: int = 0


@dataclasses.dataclass(frozen=True)
class Complexity:
    """Counts of a model for one image; as a string, a table with totals.

    Attributes:
        parameters: Integer, number of trainable parameters.
        layers: Tuple of `LayerComplexity`, one for each call of a layer.
        convention: String, convention of the FLOPs.
        uncounted: Tuple of the names of the layers whose operations are not
            known, so that `macs` and `flops` lack them.
        macs, flops, products: Integers, sums of those of the layers.
    """

    parameters: int
    layers: tuple
    convention: str
    uncounted: tuple = ()

    @property
    def macs(self):
        return sum(layer.macs for layer in self.layers)

    @property
    def flops(self):
        return sum(layer.flops for layer in self.layers)

    @property
    def products(self):
        return sum(layer.products for layer in self.layers)

    def __str__(self):
        rows = [
            (layer.name, str(layer.output_shape), *self._numbers(layer))
            for layer in self.layers
            if layer.parameters or layer.flops or layer.name in self.uncounted
        ]
        totals = (self.parameters, self.macs, self.flops)
        rows.append(("total", "", *map("{:,}".format, totals)))
        names, shapes = (max(len(row[i]) for row in rows) for i in (0, 1))
        row = f"{{:{names}}}  {{:{shapes}}} {{:>11}} {{:>14}} {{:>14}}"
        flops = f"FLOPs ({self.convention})"
        header = row.format(
            "layer", "output", "parameters", "multiply-adds", flops
        )
        lines = [row.format(*values) for values in rows]
        rule = "-" * len(header)
        lines = [header, rule, *lines[:-1], rule, lines[-1]]
        if self.products:
            lines.append(f"products of activations: {self.products:,}")
        if self.uncounted:
            lines.append("uncounted: " + ", ".join(self.uncounted))
        return "\n".join(lines)

    def _numbers(self, layer):
        numbers = [f"{number:,}" for number in layer[2:5]]
        if layer.name in self.uncounted:
            return numbers[0], "uncounted", "uncounted"
        return numbers


def complexity(model, input_shape=None, convention="table2"):
    """Counts the trainable parameters and the operations of a model.

    Operations are those of one image. They are counted for every call of a
    layer, parameters once. The FLOPs depend on the convention:

    | | `"table2"` | `"table3"` |
    | --- | --- | --- |
    | multiply-add of a convolution or linear layer | 1 | 1 |
    | output element with a bias | 0 | 1 |
    | output element of a BatchNorm or another normalization | 2 | 2 |
    | output element of a ReLU or one of its kind (leaky, ELU, PReLU) | 0 | 1 |
    | input element of a maximum or average pooling layer | 0 | 1 |

    A ReLU is counted as `activation="relu"` too. A transposed convolution is
    counted at its input size, a recurrent layer for every step without the
    products of its gates, attention with the products of queries, keys and
    values. Nothing is counted for other layers without weights and for
    operations of `keras.ops` that are not layers. Other layers with weights,
    and models whose graph is not known, are `uncounted`: the last row of the
    table names them. A detector's heads, its `region_heads`, are counted for as
    many regions as tables 3 and 4 have, 1,000 boxes and 100 masks; their last
    convolution, `mask_logits`, has no FLOPs there.

    A layer of your own counts for itself if it has a method
    `count_operations(input_shape)`. It gets the shape of the layer's first
    argument (for a list of tensors a list of shapes) and returns a
    dictionary of the numbers of operations for one image, with any of the
    keys `"macs"`, `"biases"`, `"normalized"`, `"relus"` and `"pooled"`, the
    five rows of the table, and `"products"`: multiply-adds of activations with
    activations in the layers of `keras_epsanet.attention`, which no figure of
    the paper's tables includes but that of FCA-Net. They are listed apart, as
    `products`.

    Args:
        model: Functional or built `Sequential` `keras.Model`, which may
            contain further ones. It is not changed.
        input_shape: Optional shape of one image, such as `(800, 1280, 3)`,
            or a list of the shapes of all inputs: needed if the model leaves
            a size open.
        convention: `"table2"` or `"table3"`, the table of the paper whose
            FLOPs are counted.

    Returns:
        A `Complexity`, with `parameters`, `macs`, `flops`, `products`,
        `layers` and `uncounted`.

    Raises:
        ValueError: If the model is not functional or has a `call` of its
            own, or if a size is not known.

    Example:

    >>> image = keras.Input((32, 32, 3))
    >>> x = keras.layers.Conv2D(8, 3, use_bias=False, name="conv")(image)
    >>> x = keras.layers.BatchNormalization(name="norm")(x)
    >>> print(complexity(keras.Model(image, x)))
    layer  output          parameters  multiply-adds FLOPs (table2)
    ---------------------------------------------------------------
    conv   (1, 30, 30, 8)         216        194,400        194,400
    norm   (1, 30, 30, 8)          16              0         14,400
    ---------------------------------------------------------------
    total                         232        194,400        208,800
    """
    if convention not in CONVENTIONS:
        raise ValueError(
            f"`convention` must be one of {', '.join(CONVENTIONS)}. "
            f"Received: convention={convention}"
        )
    check_functional(model)
    factors = CONVENTIONS[convention]
    records, seen, uncounted = [], set(), {}

    def record(name, layer, shapes, output_shape):
        counts = count_call(layer, shapes, output_shape)
        if counts is None:
            uncounted[name] = True  # A dictionary: in order, each once.
            counts = {}
        if convention == "table3" and name.endswith("/mask_logits"):
            counts = {}
        weights = {id(weight): weight for weight in layer.trainable_weights}
        parameters = _size(weights[i] for i in weights.keys() - seen)
        seen.update(weights)
        macs = counts.get("macs", 0)
        flops = sum(n * factors.get(kind, 0) for kind, n in counts.items())
        products = counts.get("products", 0)
        records.append(
            LayerComplexity(
                name, output_shape, parameters, macs, flops, products
            )
        )

    _visit_model(model, _batch_shapes(model, input_shape), record)
    for head, number in getattr(model, "region_heads", ()):
        shapes = [(number, *x.shape[1:]) for x in head.inputs]
        _visit_model(head, shapes, record, f"{head.name}/")
    parameters = _size(model.trainable_weights)
    return Complexity(parameters, tuple(records), convention, tuple(uncounted))


def _size(weights):
    return sum(math.prod(weight.shape) for weight in weights)


def _batch_shapes(model, input_shape):
    """Returns the shapes of all inputs for a batch of one image."""
    known = [tuple(x.shape[1:]) for x in model.inputs]
    shapes = input_shape or known
    if not isinstance(shapes[0], (tuple, list)):
        shapes = [shapes]
    fits = list(map(len, shapes)) == list(map(len, known))
    if not fits or any(
        size is None or fixed not in (None, size)
        for sizes in zip(shapes, known)
        for size, fixed in zip(*sizes)
    ):
        raise ValueError(
            "`input_shape` must give all sizes of one image, without the "
            f"batch, and agree with the model, which takes {known}. "
            f"Received: input_shape={input_shape}"
        )
    return [(1, *shape) for shape in shapes]


def _visit_model(model, batch_shapes, visit, prefix=""):
    """Calls `visit(name, layer, shapes, output_shape)` for every call.

    `shapes` is a dictionary of the shapes of all arguments by their names.
    """

    def visit_call(operation, arguments, outputs):
        if isinstance(operation, keras.Layer):
            shapes = {k: _shapes(value) for k, value in arguments.items()}
            name = prefix + operation.name
            _visit_layer(name, operation, shapes, _shapes(outputs), visit)

    inputs = [
        keras.Input(batch_shape=shape, dtype=x.dtype, name=x.name)
        for shape, x in zip(batch_shapes, model.inputs)
    ]
    visit_calls(model, visit_call, inputs)


def _visit_layer(name, layer, shapes, output_shape, visit):
    if hasattr(layer, "count_operations"):
        visit(name, layer, shapes, output_shape)
    elif is_functional(layer):
        # Tensors again, whose structure can be flattened.
        inputs = keras.tree.map_shape_structure(
            keras.KerasTensor, first(shapes)
        )
        shapes = [x.shape for x in keras.tree.flatten(inputs)]
        _visit_model(layer, shapes, visit, f"{name}/")
    elif calls := calls_within(layer, shapes):
        for part, shape in calls:
            output_shape = part.compute_output_shape(shape)
            _visit_layer(
                f"{name}/{part.name}",
                part,
                {"inputs": shape},
                output_shape,
                visit,
            )
    else:
        visit(name, layer, shapes, output_shape)


def _shapes(tensors):
    return keras.tree.map_structure(lambda x: getattr(x, "shape", ()), tensors)
