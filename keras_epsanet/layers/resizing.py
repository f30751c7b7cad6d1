"""Resizing that says nothing about training."""

import inspect

import keras


@keras.saving.register_keras_serializable(package="keras_epsanet")
class Resizing(keras.layers.Resizing):
    """`keras.layers.Resizing` for the front of a network.

    Keras' preprocessing layers, `keras.layers.Resizing` among them, have
    `training=True` as the default of their calls. Keras hands that default
    on to every layer behind them, so that `model(x)`, and with it an export
    to ONNX or a SavedModel, runs BatchNorm and dropout in training mode;
    `fit`, `evaluate` and `predict` alone say what they mean. This layer
    resizes the same way, and the layers behind it train only when the model
    is told to.

    Args:
        height: Integer, the height of the outputs in pixels.
        width: Integer, the width of the outputs in pixels.
        **kwargs: Arguments of `keras.layers.Resizing`.

    Input shape:
        `(N, H, W, C)` or `(H, W, C)`; with
        `data_format="channels_first"` `(N, C, H, W)` or `(C, H, W)`.

    Output shape:
        The same with `height` and `width` in place of `H` and `W`.

    Example:

    >>> image = keras.Input((None, None, 3))
    >>> Resizing(32, 48)(image).shape
    (None, 32, 48, 3)
    """

    def __init__(self, height, width, **kwargs):
        super().__init__(height, width, **kwargs)

    def call(self, data, training=None):
        return super().call(data, training=training)


def free_training(tensor):
    """Makes each `keras.layers.Resizing` before a tensor a `Resizing`.

    Models of files that were written with Keras' layer thus predict what
    they have learned when they are called, and are saved again with this
    one.

    Args:
        tensor: Keras tensor.
    """
    tensors, seen = [tensor], set()
    while tensors:
        history = getattr(tensors.pop(), "_keras_history", None)
        if history is None or history[:2] in seen:
            continue
        seen.add(history[:2])
        layer = history.operation
        call = layer._inbound_nodes[history.node_index]
        if type(layer) is keras.layers.Resizing:
            layer.__class__ = Resizing
            # Read by Keras when the layer was made, and from the file.
            layer._call_signature = inspect.signature(layer.call)
        if isinstance(layer, Resizing):
            call.arguments.kwargs.pop("training", None)
        tensors += call.input_tensors
