"""A model's weights for another one with layers of the same names."""

import keras
import numpy as np

from keras_epsanet.layers import PSA, SPC, GroupedConv2D
from keras_epsanet.weights.embedding import (
    Pyramid,
    branches_of,
    dense_kernel,
    embed,
)
from keras_epsanet.weights.inherit_resnet import Plan
from keras_epsanet.weights.layer_names import find_prefixes

_MODULES = (PSA, SPC)


def plan_layers(model, source):
    """Plans what a model inherits from the layers of another, by their names.

    Args:
        model: Functional model.
        source: Keras model. Where `model` has a `PSA` or `SPC` it may have
            a convolution of as many filters and the same strides, or a `PSA`
            or `SPC` of other scales.

    Returns:
        `Plan`.

    Raises:
        ValueError: If nothing can be inherited, or a `PSA` or `SPC` cannot
            stand for the layer of its name.
    """
    plan = Plan([], [], {}, [], [])
    _plan(model, source, plan)
    if not plan.exact and not plan.partly:
        names = [layer.name for layer in source.layers if layer.weights]
        raise ValueError(
            f"{source.name} has no layer of the name and shapes of one of "
            f"{model.name}, which was left as it was. Received: a source "
            f"with the layers {names[:4]}, ..."
        )
    return plan


def _plan(model, source, plan, prefix=""):
    """Plans the layers of a model; `prefix` names the models it is in."""
    sources = _by_name(source)
    for name, layer in _by_name(model).items():
        other = sources.get(name)
        if not layer.weights:
            continue
        if isinstance(layer, keras.Model) and isinstance(other, keras.Model):
            _plan(layer, other, plan, f"{prefix}{layer.name}/")
        elif isinstance(layer, _MODULES) and _is_convolution(other, layer):
            _plan_module(layer, other, plan, prefix)
        elif _shapes(layer) == _shapes(other):
            plan.assignments.extend(
                (variable, keras.ops.convert_to_numpy(value))
                for variable, value in zip(layer.weights, other.weights)
            )
            plan.exact.append(prefix + layer.name)
        else:
            plan.left.append(prefix + layer.name)


def _by_name(model):
    prefixes = find_prefixes(model)
    prefix = prefixes[0] if len(prefixes) == 1 else ""
    return {layer.name.removeprefix(prefix): layer for layer in model.layers}


def _shapes(layer):
    if layer is None:
        return None
    return [tuple(variable.shape) for variable in layer.weights]


def _is_convolution(layer, module):
    """Whether a module can stand for a layer, but has not its weights."""
    if isinstance(layer, _MODULES):
        return _shapes(layer) != _shapes(module)
    return isinstance(layer, keras.layers.Conv2D)


def _plan_module(module, other, plan, prefix):
    _check_stands_for(module, other)
    dense = _dense_kernel_of(other)
    pyramid = Pyramid(
        dense.shape[2],
        module.filters,
        module.kernel_sizes,
        module.groups,
        module.split_input,
    )
    kernels, share = embed(dense, pyramid)
    spc, divisor = branches_of(module)
    factor = divisor / len(kernels)  # They are as often as large already.
    plan.assignments.extend(
        (branch.kernel, factor * kernel)
        for branch, kernel in zip(spc.convolutions, kernels)
    )
    if isinstance(module, PSA):
        # Neutral attention: all scales weigh the same.
        plan.assignments.extend(
            (variable, np.zeros(variable.shape, "float32"))
            for variable in module.se.fc2.weights
        )
    if share == 1.0 and not isinstance(other, PSA):
        plan.exact.append(prefix + module.name)
        return
    plan.partly[prefix + module.name] = share
    if not prefix:
        plan.pairs.append((module, other.name, np.arange(module.filters)))


def _dense_kernel_of(layer):
    """The kernel of a convolution, or of a module of neutral attention."""
    if not isinstance(layer, _MODULES):
        return _ungrouped(layer)
    size, scales = max(layer.kernel_sizes), len(layer.kernel_sizes)
    spc, divisor = branches_of(layer)
    parts = []
    for branch, convolution in enumerate(spc.convolutions):
        dense = _ungrouped(convolution) / divisor
        margin = (size - len(dense)) // 2
        seen = dense.shape[2]
        before = branch * seen if layer.split_input else 0
        channels = seen * (scales if layer.split_input else 1)
        around = (margin, margin)
        after = channels - before - seen
        parts.append(np.pad(dense, [around, around, (before, after), (0, 0)]))
    return np.concatenate(parts, axis=-1)


def _ungrouped(convolution):
    kernel = keras.ops.convert_to_numpy(convolution.kernel)
    return dense_kernel(kernel.astype("float32"), convolution.groups)


def _check_stands_for(module, other):
    strides = branches_of(module)[0].convolutions[0].strides
    reason = None
    if isinstance(other, _MODULES):
        other_strides = branches_of(other)[0].convolutions[0].strides
    else:
        other_strides = other.strides
        reason = _why_not_bare(other)
    found = other.filters, tuple(other_strides)
    if found != (module.filters, tuple(strides)):
        reason = f"it has filters={found[0]}, strides={found[1]}"
    if reason is not None:
        raise ValueError(
            f"{module.name} has {module.filters} filters and strides "
            f"{tuple(strides)} and cannot stand for {other.name}, for "
            f"{reason}. `keras_epsanet.replace_convolutions` puts modules in "
            f"the places of convolutions. Received: source layer {other}"
        )


def _why_not_bare(convolution):
    """Says what a module cannot do that a convolution does."""
    height, width = convolution.kernel_size
    if height != width or height % 2 == 0:
        return f"it has kernel_size={convolution.kernel_size}"
    if tuple(convolution.dilation_rate) != (1, 1):
        return f"it has dilation_rate={tuple(convolution.dilation_rate)}"
    if convolution.use_bias:
        return "it has a bias"
    if convolution.activation not in (None, keras.activations.linear):
        return "it has an activation"
    if isinstance(convolution, GroupedConv2D):
        return None  # Pads half of its kernel.
    if convolution.padding != "same" or tuple(convolution.strides) != (1, 1):
        return "it does not pad half of its kernel on every side"
    return None
