"""A functional model run from one of its layers to the next."""

import contextlib
import logging

import keras

from keras_epsanet.layers import Bias


class GraphPart(keras.Model):
    """What lies between some tensors of a graph and some later ones."""

    def __init__(self, inputs, outputs):
        super().__init__()
        # TensorFlow's XLA is slow on a CPU.
        self.compile(jit_compile=False)
        # A model of these tensors would add nodes to the layers in between.
        self._function = keras.Function(inputs, outputs)
        self._layers_between = [
            operation
            for operation in self._function.operations
            if isinstance(operation, keras.layers.Layer)
        ]

    def call(self, inputs):
        return self._function(inputs)

    def run(self, inputs):
        """Returns the arrays of all outputs, as a list."""
        with _without_retracing_warnings():
            outputs = self.predict_on_batch(inputs)
        return (
            list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
        )


@contextlib.contextmanager
def _without_retracing_warnings():
    """Keeps TensorFlow from taking the graphs of many parts for one's."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def run_to_each(model, layers, batches):
    """Runs a model up to each of some layers in turn, nothing twice.

    A layer may be given other weights before the next one is asked for, and
    the model is run with these.

    Args:
        model: Functional model of one input.
        layers: List of layers with one input, which the graph calls itself.
        batches: List of arrays, inputs of the model.

    Yields:
        Pairs of a layer, in the order of the graph, and the list of arrays
        that reach its first call.
    """
    nodes = sorted_nodes(model)
    live = list(model.inputs)
    values = [[batch] for batch in batches]
    waiting = list(layers)
    for place, node in enumerate(nodes):
        if node.operation not in waiting:
            continue
        waiting.remove(node.operation)
        before, live = live, _live_tensors(model, nodes, place)
        part = GraphPart(before, live)
        for i, value in enumerate(values):
            values[i] = part.run(value)
        wanted = node.input_tensors[0]
        index = next(i for i, tensor in enumerate(live) if tensor is wanted)
        yield node.operation, [value[index] for value in values]


def first_outputs(model, layers):
    """Returns the outputs of the first calls of layers in a graph.

    A layer's own `output` may be one in the graph of another model.

    Args:
        model: Functional model.
        layers: List of layers with one output.

    Returns:
        List of Keras tensors.
    """
    outputs = {}
    for node in sorted_nodes(model):
        outputs.setdefault(id(node.operation), node.output_tensors[0])
    return [outputs[id(layer)] for layer in layers]


def normalization_behind(model, layer):
    """Finds the batch normalization that a layer's first output goes to.

    Args:
        model: Functional model.
        layer: Layer of its graph.

    Returns:
        Pair of the `Bias` in between, or `None`, and Keras' or this
        package's `BatchNormalization`, which is called once; `(None, None)`
        if there is none.
    """
    nodes = sorted_nodes(model)
    bias, nothing = None, (None, None)
    while True:
        (tensor,) = first_outputs(model, [layer])
        users = [
            node.operation
            for node in nodes
            if any(used is tensor for used in node.input_tensors)
        ]
        if len(users) != 1:
            return nothing
        (layer,) = users
        if sum(node.operation is layer for node in nodes) != 1:
            return nothing
        if isinstance(layer, keras.layers.BatchNormalization):
            return bias, layer
        if not isinstance(layer, Bias) or bias is not None:
            return nothing
        bias = layer


def sorted_nodes(model):
    """Returns the calls in a graph, each behind those it takes its inputs from.

    Args:
        model: Functional or built `Sequential` `keras.Model`.

    Returns:
        List of Keras' nodes, without those of the inputs.
    """
    if isinstance(model, keras.Sequential):
        model = keras.Function(model.inputs, model.outputs)
    by_depth = model._nodes_by_depth
    return [
        node
        for depth in sorted(by_depth, reverse=True)
        for node in by_depth[depth]
        if not node.is_input
    ]


def _live_tensors(model, nodes, place):
    """The tensors that are there before a call, and are needed after it."""
    made = {id(tensor) for tensor in model.inputs}
    for node in nodes[:place]:
        made |= {id(tensor) for tensor in node.output_tensors}
    needed = {}
    for node in nodes[place:]:
        for tensor in node.input_tensors:
            if id(tensor) in made:
                needed[id(tensor)] = tensor
    return list(needed.values())
