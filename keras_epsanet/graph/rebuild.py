"""Copies a model with other layers in place of some convolutions."""

import keras

from keras_epsanet.graph.copies import copy_layer, copy_state
from keras_epsanet.graph.visit import bind, first, is_functional
from keras_epsanet.layers import Bias


def rebuild(model, chosen, make):
    """Returns a functional copy of a model with other layers in it.

    Args:
        model: Functional or built `Sequential` `keras.Model`. It is not
            changed.
        chosen: List of the `Convolution`, of `find_convolutions`, whose
            places the other layers take.
        make: Function from a `Convolution` to a new layer of its name.

    Raises:
        ValueError: If a layer cannot be copied.

    Example:

    >>> from keras_epsanet.graph.convolutions import find_convolutions
    >>> image = keras.Input((8, 8, 3), name="image")
    >>> x = keras.layers.Conv2D(64, 3, padding="same", name="a")(image)
    >>> model = keras.Model(image, x)
    >>> new = rebuild(
    ...     model,
    ...     find_convolutions(model),
    ...     lambda convolution: keras.layers.Conv2D(64, 1, name="a"),
    ... )
    >>> [layer.name for layer in new.layers]
    ['image', 'a', 'a_bias']
    """
    return _Copier(chosen, make).copy_model(model)


def parts_behind(convolution):
    """What a convolution does after it has convolved: names of layers."""
    parts = ["bias"] if convolution.use_bias else []
    if convolution.activation not in (None, keras.activations.linear):
        parts.append("activation")
    return parts


class _Chain:
    """What takes the place of a convolution: a layer, bias, activation."""

    def __init__(self, record, layer, taken):
        self.convolution = record
        self.layers = [layer]
        convolution = record.layer
        parts = parts_behind(convolution)
        for part in parts:
            name = _free_name(f"{convolution.name}_{part}", taken)
            shared = {"name": name, "dtype": convolution.dtype_policy}
            if part == parts[-1]:
                regularizer = convolution.activity_regularizer
                shared["activity_regularizer"] = regularizer
            make = getattr(self, f"_make_{part}")
            self.layers.append(make(convolution, shared))

    def _make_bias(self, convolution, shared):
        self.bias = Bias(
            data_format=convolution.data_format,
            bias_initializer=convolution.bias_initializer,
            bias_regularizer=convolution.bias_regularizer,
            bias_constraint=convolution.bias_constraint,
            **shared,
        )
        return self.bias

    def _make_activation(self, convolution, shared):
        activation = convolution.activation
        if isinstance(activation, keras.Layer):
            config = {**activation.get_config(), **shared}
            return type(activation).from_config(config)
        return keras.layers.Activation(activation, **shared)

    def __call__(self, inputs):
        for layer in self.layers:
            inputs = layer(inputs)
        return inputs

    def copy_state(self):
        if self.convolution.layer.use_bias:
            self.bias.bias.assign(self.convolution.layer.bias)


def _free_name(name, taken):
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _copy_input(tensor):
    layer = tensor._keras_history.operation
    return type(layer).from_config(layer.get_config()).output


class _Copier:
    """Copies models with other layers in place of some convolutions."""

    def __init__(self, chosen, make):
        self.chosen = {x.layer: x for x in chosen}
        self.make = make
        self.copies = {}  # One for all models: they may share layers.

    def copy_model(self, model):
        """Returns a functional model with all weights but the new ones."""
        new = self._copy_graph(model)
        for layer, copy in self.copies.items():
            if isinstance(copy, _Chain):
                copy.copy_state()
            elif isinstance(layer, keras.Layer) and not self._is_taken_apart(
                layer
            ):
                copy_state(layer, copy)
        self._copy_trainable(model, new)
        return new

    def _copy_graph(self, model):
        taken = {layer.name for layer in model.layers}
        padded, kept = {}, []  # Ids of tensors: all must live.

        def clone(layer):
            if layer not in self.copies:
                self.copies[layer] = self._copy_layer(layer, taken)
            return self.copies[layer]

        def call(layer, *args, **kwargs):
            if isinstance(layer, _Chain):
                inputs = first(bind(layer.convolution.layer, args, kwargs))
                if layer.convolution.needs_padding:
                    inputs = padded[id(inputs)]
                return layer(inputs)
            outputs = layer(*args, **kwargs)
            if type(layer) is keras.layers.ZeroPadding2D:
                padded[id(outputs)] = first(bind(layer, args, kwargs))
                kept.append(outputs)
            return outputs

        if isinstance(model, keras.Sequential):
            inputs, outputs = model.inputs[0], model.outputs[0]
        else:
            inputs, outputs = model.input, model.output
        # Without the class of the model, which may build its own network.
        return keras.models.clone_model(
            keras.Model(inputs, outputs, name=model.name),
            input_tensors=keras.tree.map_structure(_copy_input, inputs),
            clone_function=clone,
            call_function=call,
        )

    def _copy_layer(self, layer, taken):
        if layer in self.chosen:
            convolution = self.chosen[layer]
            return _Chain(convolution, self.make(convolution), taken)
        if self._is_taken_apart(layer):
            return self._copy_graph(layer)
        copy = copy_layer(layer)
        if isinstance(layer, keras.Layer) and not layer.weights:
            # Tables of words must be there before the first call.
            copy_state(layer, copy)
        return copy

    def _is_taken_apart(self, layer):
        """Whether a model in the model is made anew, layer by layer."""
        if not is_functional(layer):
            return False
        # Others keep their class, with what it adds to the graph.
        return type(layer).__module__.startswith("keras.src.models") or any(
            part in self.chosen for part in layer._flatten_layers()
        )

    def _copy_trainable(self, model, new):
        """Sets what is trainable, from the outside in."""
        new.trainable = model.trainable
        for layer in model.layers:
            copy = self.copies.get(layer)
            if isinstance(copy, _Chain):
                for part in copy.layers:
                    part.trainable = layer.trainable
            elif copy is not None and self._is_taken_apart(layer):
                self._copy_trainable(layer, copy)
            elif copy is not None:
                for part, other in zip(
                    layer._flatten_layers(), copy._flatten_layers()
                ):
                    other.trainable = part.trainable
