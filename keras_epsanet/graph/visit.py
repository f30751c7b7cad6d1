"""Walks over the calls in the graph of a functional model."""

import functools
import inspect
import re

import keras


def is_functional(layer):
    """Whether a layer is a model that computes what its graph says."""
    # An unbuilt Sequential raises AttributeError for its inputs.
    if not isinstance(layer, keras.Model) or not hasattr(layer, "inputs"):
        return False
    return not _has_own_call(layer)


def _has_own_call(layer):
    """Whether a class that is not Keras' own says what a call does."""
    definer = next(c for c in type(layer).__mro__ if "call" in vars(c))
    return not definer.__module__.startswith("keras.")


def check_functional(model):
    """Raises a `ValueError` if the graph does not say what a model does."""
    if is_functional(model):
        return
    if hasattr(model, "inputs") and isinstance(model, keras.Model):
        raise ValueError(
            f"{type(model).__name__} has a `call` of its own, which is not "
            "in the graph of the model. If it adds nothing to the graph, use "
            "`keras.Model(model.inputs, model.outputs)`. "
            f"Received: model={model}"
        )
    raise ValueError(
        "`model` must be a functional model or a Sequential one that is "
        "built: only these have a graph that can be read. "
        f"Received: model={model}"
    )


class _ShapeOf(keras.Operation):
    """Stands for a layer, so that a call adds no node to the layer."""

    def __init__(self, operation):
        super().__init__(name=operation.name)
        self.operation = operation

    def compute_output_spec(self, *args, **kwargs):
        spec = self.operation.compute_output_spec(*args, **kwargs)
        if isinstance(self.operation, keras.layers.EinsumDense):
            inputs = first(bind(self.operation, args, kwargs))
            shape = _einsum_shape(self.operation, inputs.shape, spec.shape)
            return keras.KerasTensor(shape, dtype=spec.dtype)
        return spec


def _einsum_shape(layer, input_shape, output_shape):
    # Keras leaves a size open that is `None` in the argument `output_shape`.
    inputs, _, outputs = re.split(",|->", layer.equation)
    sizes = einsum_sizes(inputs, input_shape)
    before, _, after = outputs.partition("...")
    others = len(output_shape) - len(before) - len(after)
    names = [*before, *[None] * others, *after]
    return tuple(
        sizes.get(name) if size is None else size
        for name, size in zip(names, output_shape)
    )


def einsum_sizes(names, shape):
    """Returns the sizes of a shape by their letters, such as `"ab...c"`."""
    before, _, after = names.partition("...")
    ends = zip(reversed(after), reversed(shape))
    return {**dict(zip(before, shape)), **dict(ends)}


def visit_calls(model, visit, inputs=None):
    """Visits every call in the graph of a model, which is not changed.

    Args:
        model: Functional or built `Sequential` `keras.Model`.
        visit: Function that is called with a layer or other operation, the
            dictionary of its arguments, as `bind` returns it, and its
            result, in Keras tensors. A result is the same object as the
            argument of another call that takes it.
        inputs: Optional list of Keras tensors to walk from, in place of the
            inputs of the model.

    Returns:
        List of Keras tensors, the outputs of the model for these inputs.
    """
    # One for all calls of a layer: the names in a graph must be unique.
    shape_of = functools.cache(_ShapeOf)

    def call(operation, *args, **kwargs):
        outputs = shape_of(operation)(*args, **kwargs)
        visit(operation, bind(operation, args, kwargs), outputs)
        return outputs

    clone = keras.models.clone_model(
        keras.Model(model.inputs, model.outputs, name=model.name),
        input_tensors=inputs,
        clone_function=lambda layer: layer,
        call_function=call,
    )
    return clone.outputs


def bind(operation, args, kwargs):
    """Returns the arguments of a call by name, in the order of `call`."""
    signature = inspect.signature(operation.call)
    # Keras hands over some, as `training`, that `call` need not have.
    known = {k: v for k, v in kwargs.items() if k in signature.parameters}
    arguments = signature.bind_partial(*args, **known).arguments
    return {**arguments, **kwargs}


def first(arguments):
    """Returns the first argument of a call, however it was given."""
    return next(iter(arguments.values()))
