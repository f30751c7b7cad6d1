"""Walks over the calls in the graph of a functional model."""

import functools

import keras


def is_functional(layer):
    """Whether a layer is a model whose graph is known."""
    # An unbuilt Sequential raises AttributeError for its inputs.
    return isinstance(layer, keras.Model) and hasattr(layer, "inputs")


class _ShapeOf(keras.Operation):
    """Stands for a layer, so that a call adds no node to the layer."""

    def __init__(self, operation):
        super().__init__(name=operation.name)
        self.operation = operation

    def compute_output_spec(self, *args, **kwargs):
        return self.operation.compute_output_spec(*args, **kwargs)


def visit_calls(model, visit, inputs=None):
    """Visits every call in the graph of a model, which is not changed.

    Args:
        model: Functional or built `Sequential` `keras.Model`.
        visit: Function that is called with a layer or other operation, the
            list of its arguments and its result, in Keras tensors. A result
            is the same object as the argument of another call that takes it.
        inputs: Optional list of Keras tensors to walk from, in place of the
            inputs of the model.

    Returns:
        List of Keras tensors, the outputs of the model for these inputs.
    """
    # One for all calls of a layer: the names in a graph must be unique.
    shape_of = functools.cache(_ShapeOf)

    def call(operation, *args, **kwargs):
        outputs = shape_of(operation)(*args, **kwargs)
        visit(operation, [*args, *kwargs.values()], outputs)
        return outputs

    clone = keras.models.clone_model(
        keras.Model(model.inputs, model.outputs, name=model.name),
        input_tensors=inputs,
        clone_function=lambda layer: layer,
        call_function=call,
    )
    return clone.outputs
