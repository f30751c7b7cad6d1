"""A model's weights for another one with layers of the same names."""

import keras
import numpy as np

from keras_epsanet.layers import PSA
from keras_epsanet.weights.embedding import Pyramid, dense_kernel, embed
from keras_epsanet.weights.inherit_resnet import Plan
from keras_epsanet.weights.layer_names import find_prefixes


def plan_layers(model, source):
    """Plans what a model inherits from the layers of another, by their names.

    Args:
        model: Functional model.
        source: Keras model. Where `model` has a `PSA` it may have a
            convolution of as many filters and the same strides, or another
            `PSA`.

    Returns:
        `Plan`.

    Raises:
        ValueError: If nothing can be inherited, or a `PSA` cannot stand for
            the layer of its name.
    """
    plan = Plan([], [], {}, [], [])
    _plan(model, source, plan, is_inner=False)
    if not plan.exact and not plan.partly:
        names = [layer.name for layer in source.layers if layer.weights]
        raise ValueError(
            f"{source.name} has no layer of the name and shapes of one of "
            f"{model.name}, which was left as it was. Received: a source "
            f"with the layers {names[:4]}, ..."
        )
    return plan


def _plan(model, source, plan, is_inner):
    sources = _by_name(source)
    for name, layer in _by_name(model).items():
        other = sources.get(name)
        if not layer.weights:
            continue
        if isinstance(layer, keras.Model) and isinstance(other, keras.Model):
            _plan(layer, other, plan, is_inner=True)
        elif isinstance(layer, PSA) and isinstance(other, keras.layers.Conv2D):
            _plan_module(layer, other, plan, is_inner)
        elif _shapes(layer) == _shapes(other):
            plan.assignments.extend(
                (variable, keras.ops.convert_to_numpy(value))
                for variable, value in zip(layer.weights, other.weights)
            )
            plan.exact.append(layer.name)
        else:
            plan.left.append(layer.name)


def _by_name(model):
    prefixes = find_prefixes(model)
    prefix = prefixes[0] if len(prefixes) == 1 else ""
    return {layer.name.removeprefix(prefix): layer for layer in model.layers}


def _shapes(layer):
    if layer is None:
        return None
    return [tuple(variable.shape) for variable in layer.weights]


def _plan_module(psa, convolution, plan, is_inner):
    kernel = keras.ops.convert_to_numpy(convolution.kernel).astype("float32")
    _check_stands_for(psa, convolution)
    channels = kernel.shape[2] * convolution.groups
    pyramid = Pyramid(
        channels, psa.filters, psa.kernel_sizes, psa.groups, psa.split_input
    )
    kernels, share = embed(dense_kernel(kernel, convolution.groups), pyramid)
    plan.assignments.extend(
        (branch.kernel, kernel)
        for branch, kernel in zip(psa.spc.convolutions, kernels)
    )
    # Neutral attention: all scales weigh the same.
    plan.assignments.extend(
        (variable, np.zeros(variable.shape, "float32"))
        for variable in psa.se.fc2.weights
    )
    if share == 1.0:
        plan.exact.append(psa.name)
        return
    plan.partly[psa.name] = share
    if not is_inner:
        order = np.arange(psa.filters)
        plan.pairs.append((psa, convolution.name, order))


def _check_stands_for(psa, convolution):
    strides = psa.spc.convolutions[0].strides
    found = convolution.filters, tuple(convolution.strides)
    height, width = convolution.kernel_size
    if (
        found != (psa.filters, strides)
        or tuple(convolution.dilation_rate) != (1, 1)
        or height != width
        or height % 2 == 0
    ):
        raise ValueError(
            f"{psa.name} stands for a convolution of {psa.filters} filters "
            f"with strides {strides} and an odd, square, undilated kernel. "
            f"Received: filters={convolution.filters}, "
            f"strides={convolution.strides}, "
            f"kernel_size={convolution.kernel_size}, "
            f"dilation_rate={convolution.dilation_rate}"
        )
