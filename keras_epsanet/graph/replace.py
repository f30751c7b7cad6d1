"""PSA, or another layer, in place of the convolutions of a model."""

import keras

from keras_epsanet.graph.complexity import complexity
from keras_epsanet.graph.convolutions import (
    choose,
    find_convolutions,
    named,
    refuse_names,
)
from keras_epsanet.graph.rebuild import parts_behind, rebuild
from keras_epsanet.graph.replacement import (
    Left,
    Replaced,
    Replacement,
    by_reason,
)
from keras_epsanet.graph.visit import check_functional
from keras_epsanet.layers import PSA, GroupedConv2D


def replace_convolutions(
    model,
    where=None,
    layer=PSA,
    inherit=True,
    images=None,
    verbose=1,
    **kwargs,
):
    """Copies a model with PSA in place of its 3×3 convolutions.

    Replaced are `keras.layers.Conv2D` and `GroupedConv2D` of 3×3 pixels and
    at least 64 filters, without dilation, whose padding is half of the
    kernel on every side, as PSA's: `"same"` at stride 1, or no padding
    behind a `ZeroPadding2D(1)`, which is left out then. (Keras' `"same"` at
    stride 2 pads one side alone where the size is even.) All others stay,
    for a reason that the report names: PSA has to fit, whose `groups` must
    divide the input channels.

    The new layer has the name of the convolution, its data format, dtype
    policy, `trainable` and the regularizer and constraint of its kernel. A
    bias and an activation of the convolution follow as layers of their own,
    `Bias` and `keras.layers.Activation`, with `_bias` and `_activation`
    behind the name. Where a convolution is called several times, so is the
    new layer. Convolutions in models in the model are replaced too; such a
    model is an ordinary functional one then, whatever its class. All other
    layers are copied with their state, names and `trainable`.

    Args:
        model: Functional or built `Sequential` `keras.Model`, such as those
            of `keras.applications` and KerasHub or your own. It is not
            changed.
        where: Optional choice of the convolutions: a function from a layer
            to a boolean, or a list of names. The name of a layer in a model
            in the model is `"backbone/conv1"`, or `"conv1"` if no other has
            it.
        layer: Class of the new layers, or a function that returns one. It
            is called with `filters`, `strides`, `data_format`, `dtype`,
            `name`, where the convolution has them `kernel_regularizer`,
            `kernel_constraint` and `activity_regularizer`, and `**kwargs`.
        inherit: Whether the new layers inherit from the convolutions, as
            `keras_epsanet.inherit_weights` does it: kernels embedded,
            attention neutral. Otherwise they start at random.
        images: Optional images, preprocessed as for the model: the new
            `PSA` or `SPC` layers are fitted to what the convolutions make
            of them. Those in models in the model cannot be, and are refused
            with their names: leave them out by `where`, or give the model
            that they are in, with images as they reach it.
        verbose: 1 prints the report, 0 nothing.
        **kwargs: Further arguments of `layer`, such as `reduction=8`.

    Returns:
        A functional `keras.Model` with the same names of inputs and layers
        and the same shapes of outputs, which is not compiled. Saved, it
        loads wherever `keras_epsanet` is imported.

    Raises:
        ValueError: If `model` is not functional or a layer of it cannot be
            copied, if no convolution can be replaced, if a name in `where`
            is not that of a convolution that can be, or if one with
            `images` is in a model in the model. The message says why for
            each.

    Example:

    >>> image = keras.Input((32, 32, 64), name="image")
    >>> x = keras.layers.Conv2D(64, 3, padding="same", name="conv")(image)
    >>> model = keras.Model(image, keras.layers.ReLU(name="relu")(x))
    >>> model = replace_convolutions(model, inherit=False)
    replaced 1 of 1 convolutions
      conv  3×3 Conv2D, 64 to 64 channels → PSA
    trainable parameters 36,928 → 27,185
    multiply-adds 37,748,736 → 27,721,856
    >>> [layer.name for layer in model.layers]
    ['image', 'conv', 'conv_bias', 'relu']
    """
    if images is not None and not inherit:
        raise ValueError(
            "`images` are for what the layers inherit. "
            f"Received: inherit={inherit}, images={type(images).__name__}"
        )
    new, report, chosen = _replace(model, where, layer, kwargs)
    if not report.replaced:
        reasons = "; ".join(by_reason(report.left)) or "it has none"
        raise ValueError(
            "`model` has no convolution that "
            f"{getattr(layer, '__name__', 'the layer')} can replace: "
            f"{reasons}. Received: model={model}"
        )
    if inherit:
        from keras_epsanet.weights.inherit import inherit_weights

        source = _with_bare_convolutions(model, chosen)
        inherited = inherit_weights(
            new, source, images=images, verbose=bool(verbose)
        )
        random = {x.name for x in report.replaced} & set(inherited.left)
        if random:
            raise ValueError(
                f"{getattr(layer, '__name__', 'the layer')} cannot inherit "
                "from a convolution: PSA and SPC can, or a layer of the same "
                "weights. "
                "`inherit=False` lets it start at random. "
                f"Received: layer={layer}, inherit={inherit}"
            )
    if verbose:
        print(report)
    return new


def replacement_report(model, where=None, layer=PSA, **kwargs):
    """Tells what `replace_convolutions` would do, and does not do it.

    Args:
        model: As for `replace_convolutions`. It is not changed.
        where: As for `replace_convolutions`.
        layer: As for `replace_convolutions`.
        **kwargs: As for `replace_convolutions`.

    Returns:
        A `Replacement` with `replaced`, `left`, `parameters` and `macs`;
        `print` shows a summary.

    Raises:
        ValueError: For the reasons of `replace_convolutions`, but that
            nothing can be replaced is no error.

    Example:

    >>> image = keras.Input((32, 32, 3))
    >>> x = keras.layers.Conv2D(32, 3, name="conv")(image)
    >>> print(replacement_report(keras.Model(image, x)))
    replaced 0 of 1 convolutions
    left 1
      1: 32 filters, fewer than 64 (conv)
    trainable parameters 896 → 896
    multiply-adds 777,600 → 777,600
    """
    _, report, _ = _replace(model, where, layer, kwargs)
    return report


def _replace(model, where, layer, kwargs):
    """Returns a new model, `Replacement` and the chosen convolutions."""
    check_functional(model)
    convolutions = find_convolutions(model)
    choose(convolutions, where, model)

    def make(convolution):
        return _make_layer(convolution.layer, layer, kwargs)

    new_names = {}
    for convolution in convolutions:
        if convolution.reason is None:
            trial = make(convolution)
            convolution.reason = _reason_against(trial, convolution)
            new_names[convolution] = type(trial).__name__
    if where is not None and not callable(where):
        wanted = named(convolutions, where, model)
        refuse_names(
            {name: x.reason for x, name in wanted.items() if x.reason}, where
        )
    chosen = [x for x in convolutions if x.reason is None]
    new = rebuild(model, chosen, make) if chosen else model
    before, after = (_count(x) for x in (model, new))
    report = Replacement(
        tuple(Replaced(x.name, str(x), new_names[x]) for x in chosen),
        tuple(Left(x.name, x.reason) for x in convolutions if x.reason),
        (before[0], after[0]),
        None if before[1] is None else (before[1], after[1]),
    )
    return new, report, chosen


def _with_bare_convolutions(model, chosen):
    """Copies a model with bias and activation behind its convolutions.

    So that each layer of the new model has one of the same name to inherit
    from, which computes the same.
    """
    made = {}

    def make(convolution):
        layer = convolution.layer
        made[layer] = GroupedConv2D(
            layer.filters,
            layer.kernel_size,
            strides=layer.strides,
            groups=layer.groups,
            data_format=layer.data_format,
            dtype=layer.dtype_policy,
            name=layer.name,
        )
        return made[layer]

    copy = rebuild(model, chosen, make)
    for layer, bare in made.items():
        bare.kernel.assign(layer.kernel)
    return copy


def _count(model):
    """Returns trainable parameters and multiply-adds, if they are known."""
    try:
        counts = complexity(model)
    except ValueError:  # The model leaves sizes open.
        sizes = [keras.ops.size(x) for x in model.trainable_weights]
        return sum(map(int, sizes)), None
    return counts.parameters, counts.macs


def _make_layer(convolution, layer, kwargs):
    """Returns a new layer for the place of a convolution."""
    strides = tuple(convolution.strides)
    arguments = {
        "filters": convolution.filters,
        "strides": strides[0] if strides[0] == strides[1] else strides,
        "data_format": convolution.data_format,
        "dtype": convolution.dtype_policy,
        "name": convolution.name,
    }
    optional = ["kernel_regularizer", "kernel_constraint"]
    if not parts_behind(convolution):
        optional.append("activity_regularizer")
    for name in optional:
        if getattr(convolution, name) is not None and name not in kwargs:
            arguments[name] = getattr(convolution, name)
    try:
        made = layer(**arguments, **kwargs)
    except ValueError as error:
        return error
    if not isinstance(made, keras.Layer):
        raise ValueError(
            f"`layer` must return Keras layers. Received: layer={layer}, "
            f"which returns {made}"
        )
    return made


def _reason_against(layer, convolution):
    """Why a new layer cannot take the place of a convolution, or `None`."""
    if isinstance(layer, ValueError):
        return _sentence(layer)
    calls = zip(convolution.input_shapes, convolution.paddings)
    for i, (shape, padding) in enumerate(calls):
        expected = convolution.layer.compute_output_shape(shape)
        if convolution.needs_padding:
            shape = _without_padding(shape, padding)
        try:
            if i == 0:
                layer.build(shape)
            found = layer.compute_output_shape(shape)
        except ValueError as error:
            return _sentence(error)
        if tuple(found) != tuple(expected):
            return f"output {tuple(found)} in place of {tuple(expected)}"
    return None


def _sentence(error):
    """The message of an error without what was received."""
    return str(error).partition(" Received: ")[0].rstrip(".")


def _without_padding(shape, padding):
    start = 1 if padding.data_format == "channels_last" else 2
    shape = list(shape)
    for axis in (start, start + 1):
        shape[axis] = None if shape[axis] is None else shape[axis] - 2
    return tuple(shape)
