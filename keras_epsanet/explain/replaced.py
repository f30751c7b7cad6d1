"""What a model does otherwise for a moment."""

import contextlib


@contextlib.contextmanager
def replaced(instance, name, value):
    """Gives an object another attribute, and takes it back at the end.

    Keras calls a layer by its attribute `call`, so that a function in its
    place sees what goes in and out wherever the layer is: in a model in a
    model, in the head of a detector. No graph is copied for it.

    Args:
        instance: Any object.
        name: String, name of the attribute.
        value: What it is in the meantime.

    Example:

    >>> import keras
    >>> layer, x = keras.layers.ReLU(), keras.ops.array(-4.0)
    >>> with replaced(layer, "call", lambda x: x + 1):
    ...     float(layer(x))
    -3.0
    >>> float(layer(x))
    0.0
    """
    # Not by `setattr`, with which Keras and TensorFlow note more.
    attributes = vars(instance)
    before = {x: attributes[x] for x in (name,) if x in attributes}
    attributes[name] = value
    try:
        yield
    finally:
        del attributes[name]
        attributes.update(before)


@contextlib.contextmanager
def observed(layer, function):
    """Lets a function change what a layer returns.

    Args:
        layer: Keras layer.
        function: Function of the layer's output that returns what takes its
            place.

    Example:

    >>> import keras
    >>> layer, x = keras.layers.ReLU(), keras.ops.array(4.0)
    >>> with observed(layer, lambda x: 10 * x):
    ...     float(layer(x))
    40.0
    """
    # A quantized layer is not called by `call`.
    is_quantized = getattr(layer, "quantization_mode", None) is not None
    name = "quantized_call" if is_quantized else "call"
    call = getattr(layer, name)

    def observe(*args, **kwargs):
        return function(call(*args, **kwargs))

    with replaced(layer, name, observe):
        yield
