"""Which convolutions of a model another layer can take the place of."""

import dataclasses

import keras

from keras_epsanet.graph.visit import first, is_functional, visit_calls
from keras_epsanet.layers import GroupedConv2D
from keras_epsanet.layers.composite import CompositeLayer

# Of the paper: PSA's scales have at least a quarter of 64 channels each.
MIN_FILTERS = 64
_KINDS = (
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
)


@dataclasses.dataclass(eq=False)
class Convolution:
    """A convolution of a model and what is known of its calls.

    Attributes:
        name: String, name of the layer, behind those of the models it is
            in: `"backbone/conv1_conv"`.
        layer: The layer.
        input_shapes: List of the shape of the input in each of its calls.
        paddings: List of the `ZeroPadding2D` in front of each call, or
            `None`.
        holder: Name of a layer, no functional model, that it is inside of.
        reason: String, why it stays: `None` if it does not.
    """

    name: str
    layer: keras.Layer
    input_shapes: list = dataclasses.field(default_factory=list)
    paddings: list = dataclasses.field(default_factory=list)
    holder: str = None
    reason: str = None

    @property
    def needs_padding(self):
        """Whether it takes the place of the `ZeroPadding2D` in front too."""
        # `GroupedConv2D` pads by itself, whatever its attribute says.
        pads = isinstance(self.layer, GroupedConv2D)
        return not pads and self.layer.padding == "valid"

    def __str__(self):
        layer = self.layer
        parts = [f"{_size(layer)} {type(layer).__name__}"]
        if self.input_shapes:
            axis = -1 if layer.data_format == "channels_last" else 1
            channels = f"{self.input_shapes[0][axis]} to {layer.filters}"
            parts.append(f"{channels} channels")
        if max(layer.strides) > 1:
            parts.append(f"strides {_times(layer.strides)}")
        return ", ".join(parts)


def find_convolutions(model):
    """Returns all convolutions of images in a model, each once.

    Args:
        model: Functional or built `Sequential` `keras.Model`, which may
            contain further ones. It is not changed.

    Returns:
        List of `Convolution`, in the order of their first calls, with the
        `reason` of those that no layer with PSA's padding can replace.

    Example:

    >>> image = keras.Input((8, 8, 3))
    >>> x = keras.layers.Conv2D(64, 3, padding="same", name="a")(image)
    >>> x = keras.layers.Conv2D(64, 1, name="b")(x)
    >>> found = find_convolutions(keras.Model(image, x))
    >>> [(convolution.name, convolution.reason) for convolution in found]
    [('a', None), ('b', '1×1 kernel, not 3×3')]
    """
    found, seen = {}, set()

    def visit_model(model, prefix):
        producers, kept = {}, []  # Ids of tensors: all must live.

        def visit(operation, arguments, outputs):
            kept.append(outputs)
            for tensor in keras.tree.flatten(outputs):
                producers[id(tensor)] = operation
            if isinstance(operation, _KINDS):
                inputs = first(arguments)
                record = found.setdefault(
                    operation, Convolution(prefix + operation.name, operation)
                )
                record.input_shapes.append(tuple(inputs.shape))
                before = producers.get(id(inputs))
                is_padding = type(before) is keras.layers.ZeroPadding2D
                record.paddings.append(before if is_padding else None)
            elif is_functional(operation) and operation not in seen:
                seen.add(operation)
                visit_model(operation, f"{prefix}{operation.name}/")
            elif isinstance(operation, keras.Layer):
                _find_within(operation, prefix, found)

        visit_calls(model, visit)

    visit_model(model, "")
    for record in found.values():
        record.reason = _reason_to_stay(record)
    return list(found.values())


def _find_within(layer, prefix, found):
    """Adds the convolutions that a layer, which is no model, holds."""
    if is_functional(layer) or isinstance(layer, CompositeLayer):
        return
    for part in layer._flatten_layers(include_self=False):
        if isinstance(part, _KINDS):
            record = found.setdefault(
                part, Convolution(f"{prefix}{layer.name}/{part.name}", part)
            )
            record.holder = f"{layer.name}, a {type(layer).__name__}"


def _reason_to_stay(convolution):
    layer = convolution.layer
    if convolution.holder:
        return (
            f"within the layer {convolution.holder}, which is no functional "
            "model"
        )
    if type(layer) not in (keras.layers.Conv2D, GroupedConv2D):
        return f"{type(layer).__name__}, not Conv2D"
    if layer.kernel_size != (3, 3):
        return f"{_size(layer)} kernel, not 3×3"
    if layer.filters < MIN_FILTERS:
        return f"{layer.filters} filters, fewer than {MIN_FILTERS}"
    if layer.dilation_rate != (1, 1):
        return f"dilation of {_times(layer.dilation_rate)}"
    if layer.quantization_mode is not None:
        return f"quantized to {layer.quantization_mode}"
    if getattr(layer.activation, "weights", None):
        return "an activation with weights"
    calls = zip(convolution.input_shapes, convolution.paddings)
    reasons = [_reason_of_padding(layer, *call) for call in calls]
    return next(filter(None, reasons), None)


def _reason_of_padding(layer, input_shape, padding):
    """Why half of a 3×3 kernel on every side is another padding."""
    if isinstance(layer, GroupedConv2D):
        return None  # Which pads so.
    if layer.padding == "same":
        start = 1 if layer.data_format == "channels_last" else 2
        sizes = input_shape[start : start + 2]
        if all(map(_is_symmetric, sizes, layer.strides)):
            return None
        return (
            f'padding "same" with strides {_times(layer.strides)} of '
            f"{_times(sizes)} pixels, which pads one side alone"
        )
    if padding is None:
        return f'padding "{layer.padding}", not half of the kernel'
    sides = padding.padding
    if sides == ((1, 1), (1, 1)) and padding.data_format == layer.data_format:
        return None
    return f"padding {sides} of {padding.name}, not half of the kernel"


def _is_symmetric(size, stride):
    """Whether Keras' "same" pads a pixel in front of so many pixels."""
    # Where the size is not known it may be even.
    return stride == 1 or (
        size is not None and (-(-size // stride) - 1) * stride + 3 - size == 2
    )


def _size(layer):
    return _times(layer.kernel_size)


def _times(sizes):
    return "×".join("?" if size is None else str(size) for size in sizes)


def choose(convolutions, where, model):
    """Gives those that `where` leaves out a reason to stay.

    Args:
        convolutions: List of `Convolution`.
        where: Predicate on the layer, list of names, or `None` for all.
        model: Model of the convolutions.

    Raises:
        ValueError: If a name is not that of one convolution.
    """
    if where is None:
        return
    if callable(where):
        for convolution in convolutions:
            if convolution.reason is None and not where(convolution.layer):
                convolution.reason = "left out by `where`"
        return
    wanted = named(convolutions, where, model)
    for convolution in convolutions:
        if convolution.reason is None and convolution not in wanted:
            convolution.reason = "left out by `where`"


def named(convolutions, names, model):
    """Returns a dictionary from the convolutions of some names to the names.

    A name may be that of the layer alone, if only one has it.

    Args:
        convolutions, model: As in `choose`.
        names: Iterable of names.

    Raises:
        ValueError: If a name is not that of one convolution.
    """
    found, wrong = {}, {}
    kinds = {x.name: type(x).__name__ for x in model._flatten_layers()}
    for name in [names] if isinstance(names, str) else names:
        exact = [x for x in convolutions if x.name == name]
        fits = exact or [x for x in convolutions if x.layer.name == name]
        if len(fits) == 1:
            found[fits[0]] = name
        elif fits:
            wrong[name] = "one of " + ", ".join(x.name for x in fits)
        elif name in kinds:
            wrong[name] = f"{kinds[name]}, not Conv2D"
        else:
            wrong[name] = "no such layer"
    refuse_names(wrong, names)
    return found


def refuse_names(reasons, names):
    """Raises a `ValueError` if there are reasons against names of `where`."""
    if reasons:
        reasons = "; ".join(f"{k}: {v}" for k, v in reasons.items())
        raise ValueError(
            f"`where` names layers that cannot be replaced: {reasons}. "
            f"Received: where={names}"
        )
