"""BatchNorm folded into the layer before it, for inference."""

import collections

import keras
import numpy as np
from keras import ops

from keras_epsanet.graph.copies import (
    config_without_lora,
    copy_layer,
    copy_state,
)
from keras_epsanet.graph.fused import FusedModel, FusedPSA
from keras_epsanet.graph.visit import (
    bind,
    check_functional,
    first,
    is_functional,
    visit_calls,
)
from keras_epsanet.integers import is_positive
from keras_epsanet.layers import PSA, BatchNormalization, GroupedConv2D
from keras_epsanet.ops.depthwise import is_fastest


def fuse(model, group_channels=8):
    """Copies a model for inference, with each BatchNorm folded away.

    In inference a BatchNorm multiplies and shifts every channel by constants
    that its moving statistics give. Where it follows a convolution or a
    `Dense` layer they go into kernel and bias; where it follows a `PSA`,
    into the attention (equation 10) and a bias. A BatchNorm behind
    anything else stays, and so does one that computes in another dtype,
    has factors too large for float16 where it computes in that, or
    whose input something else uses too.
    Every other layer is copied with all its state: words and numbers learned
    by `adapt`, quantized weights, kernels with LoRA merged into them.

    Args:
        model: Functional or built `Sequential` `keras.Model`, such as an
            EPSANet, an `EPSANetBackbone` or a model of your own with `PSA`
            layers. It is not changed.
        group_channels: Positive integer, the fewest input channels of a
            group of a `PSA`: narrower groups are merged, with zeros in the
            kernel. ONNX Runtime is much slower with fewer than 8, or than 16
            with AVX-512; TensorFlow is slower with 16. With more than 8,
            those for which they are faster in ONNX Runtime with AVX-512
            become sums of depthwise convolutions instead.

    Returns:
        A `FusedModel` of the same inputs and outputs, which are equal to
        those of `model` in inference up to rounding. It cannot be trained. A
        backbone's has `pyramid_outputs` and `pyramid_level_inputs` too; a
        detector's is its network alone, without the selection of boxes.

    Raises:
        ValueError: If `model` is not functional, has a `call` of its own or
            has a layer that cannot be copied, or if `group_channels` is not
            positive.

    Example:

    >>> image = keras.Input((32, 32, 3), name="image")
    >>> x = keras.layers.Conv2D(64, 3, name="conv")(image)
    >>> x = keras.layers.BatchNormalization(name="norm")(PSA(64, name="psa")(x))
    >>> [layer.name for layer in fuse(keras.Model(image, x)).layers]
    ['image', 'conv', 'psa']
    """
    check_functional(model)
    if not is_positive(group_channels):
        raise ValueError(
            "`group_channels` must be a positive integer. "
            f"Received: group_channels={group_channels}"
        )
    host_of = _find_hosts(model)
    norm_of = {host: norm for norm, host in host_of.items()}
    copies = {}

    def clone(layer):
        if layer in host_of:
            return layer  # For `call`, which leaves it out.
        copies[layer] = _copy(layer, layer in norm_of, group_channels)
        return copies[layer]

    def call(layer, *args, **kwargs):
        if layer in host_of:
            return first(bind(layer, args, kwargs))
        return layer(*args, **kwargs)

    # Without the class of the model, which may build a network of its own.
    if isinstance(model, keras.Sequential):
        graph = keras.Model(model.inputs[0], model.outputs[0])
    else:
        graph = keras.Model(model.input, model.output)
    cloned = keras.models.clone_model(
        graph, clone_function=clone, call_function=call
    )
    for layer, copy in copies.items():
        if layer in norm_of:
            _fold(norm_of[layer], layer, copy)
        elif _is_stateful(layer) and layer.weights:
            copy_state(layer, copy)
    fused = FusedModel(cloned.input, cloned.output, name=model.name)
    hosts = {norm.name: host.name for norm, host in host_of.items()}
    fused._pyramid_levels = {
        level: hosts.get(name, name)
        for level, name in _pyramid_levels(model).items()
    }
    return fused


def _copy(layer, with_bias, group_channels):
    """Returns a new layer, whose weights are not yet those of the layer."""
    if is_functional(layer):
        return fuse(layer, group_channels)
    if with_bias:
        return _with_bias(layer, group_channels)
    copy = copy_layer(layer)
    if _is_stateful(layer) and not layer.weights:
        # Tables of words must be there before the first call.
        copy_state(layer, copy)
    return copy


def _is_stateful(layer):
    return isinstance(layer, keras.Layer) and not is_functional(layer)


def _pyramid_levels(model):
    """Names of the layers of a backbone's levels, in whatever way it has."""
    levels = getattr(model, "pyramid_level_inputs", None)
    if levels is None:  # A backbone of KerasHub.
        outputs = getattr(model, "pyramid_outputs", None) or {}
        levels = {
            level: tensor._keras_history.operation.name
            for level, tensor in outputs.items()
        }
    return levels


# Not their subclasses, which may do something else.
_NORMS = (keras.layers.BatchNormalization, BatchNormalization)
# Layers that take a BatchNorm's factors into their kernel, and the shape
# that spreads the factors over it.
_KERNELS = {
    keras.layers.Conv1D: lambda kernel: (1, 1, -1),
    keras.layers.Conv2D: lambda kernel: (1, 1, 1, -1),
    keras.layers.Conv3D: lambda kernel: (1, 1, 1, 1, -1),
    GroupedConv2D: lambda kernel: (1, 1, 1, -1),
    keras.layers.DepthwiseConv1D: lambda kernel: (1, *kernel.shape[1:]),
    keras.layers.DepthwiseConv2D: lambda kernel: (1, 1, *kernel.shape[2:]),
    keras.layers.Dense: lambda kernel: (1, -1),
}


def _find_hosts(model):
    """Returns a dictionary from each BatchNorm to the layer that takes it."""
    calls, producers, uses, norms = (
        collections.Counter(),
        {},
        collections.Counter(),
        [],
    )
    kept = []  # Tensors are told apart by their ids, so all must live.

    def visit(operation, arguments, outputs):
        calls[operation] += 1
        kept.append((arguments, outputs))
        tensors = keras.tree.flatten(outputs)
        producers.update({id(tensor): operation for tensor in tensors[:1]})
        uses.update(id(tensor) for tensor in keras.tree.flatten(arguments))
        if type(operation) in _NORMS:
            norms.append((operation, first(arguments)))

    outputs = visit_calls(model, visit)
    uses.update(id(tensor) for tensor in outputs)
    hosts = {}
    for norm, tensor in norms:
        host = producers.get(id(tensor))
        if (
            calls[norm] == calls[host] == uses[id(tensor)] == 1
            and not norm.renorm
            and _can_take(host, norm.axis % len(tensor.shape), tensor)
            and _fits(norm, host)
        ):
            hosts[norm] = host
    return hosts


def _can_take(layer, axis, tensor):
    """Whether a layer can take what multiplies and shifts the given axis."""
    data_format = getattr(layer, "data_format", "channels_last")
    last = len(tensor.shape) - 1
    if axis != (last if data_format == "channels_last" else 1):
        return False
    # Not their subclasses, which may do something else with the kernel.
    return type(layer) is PSA or (
        type(layer) in _KERNELS
        and layer.activation is keras.activations.linear
        and getattr(layer, "quantization_mode", None) is None
    )


def _with_bias(layer, group_channels):
    """Returns a new layer, without its weights, that also has a bias."""
    config = config_without_lora(layer)
    if isinstance(layer, PSA):
        depthwise = [
            group_channels > 8 and layer.layout is None and is_fastest(conv)
            for conv in layer.spc.convolutions
        ]
        groups = [
            conv.groups if left else _merged_groups(conv, group_channels)
            for conv, left in zip(layer.spc.convolutions, depthwise)
        ]
        if any(depthwise):
            config["depthwise"] = depthwise
        return FusedPSA.from_config({**config, "groups": groups})
    return layer.__class__.from_config({**config, "use_bias": True})


def _merged_groups(convolution, group_channels):
    """Number of groups, each with so many channels of the input if it can.

    ONNX Runtime leaves its fast layout where they have fewer, which costs it
    more than the products with zeros in the kernel of merged groups.
    """
    groups, channels = convolution.groups, convolution.kernel.shape[2]
    while groups % 2 == 0 and channels < group_channels:
        groups, channels = groups // 2, channels * 2
    return groups


def _merge_groups(kernel, groups, merged_groups):
    """Returns a kernel of fewer groups for the same convolution."""
    height, width, channels, filters = kernel.shape
    parts = groups // merged_groups
    kernel = kernel.reshape(height, width, channels, merged_groups, parts, -1)
    merged = np.zeros(
        (height, width, parts, channels, *kernel.shape[3:]), kernel.dtype
    )
    for part in range(parts):
        merged[:, :, part, :, :, part] = kernel[..., part, :]
    return merged.reshape(height, width, parts * channels, filters)


def _folded(norm, layer):
    """What a BatchNorm and the layer before it multiply with, and add."""

    def array(weight, default):
        if weight is None:
            return default
        return np.asarray(ops.convert_to_numpy(weight), "float64")

    variance = array(norm.moving_variance, None)
    scale = array(norm.gamma, 1.0) / np.sqrt(variance + norm.epsilon)
    shift = array(norm.beta, 0.0) - scale * array(norm.moving_mean, None)
    if isinstance(layer, PSA):
        return scale, shift
    kernel = array(layer.kernel, None)
    factors = scale.reshape(_KERNELS[type(layer)](kernel))
    bias = layer.bias if layer.use_bias else None
    return kernel * factors, array(bias, 0.0) * scale + shift


def _fits(norm, layer):
    """Whether the dtype of both has numbers as large as what is folded."""
    if layer.compute_dtype != norm.compute_dtype:
        return False  # Range and type would be those of the layer.
    if norm.compute_dtype != "float16":
        return True
    # It normalizes in float32.
    largest = np.finfo("float16").max
    return all(np.abs(x).max() <= largest for x in _folded(norm, layer))


def _fold(norm, layer, copy):
    """Gives a copy of a layer its weights and those of a BatchNorm."""
    factors, summands = _folded(norm, layer)
    if isinstance(layer, PSA):
        convolutions = zip(layer.spc.convolutions, copy.spc.convolutions)
        for convolution, merged in convolutions:
            merged.kernel.assign(
                _merge_groups(
                    ops.convert_to_numpy(convolution.kernel),
                    convolution.groups,
                    merged.groups,
                )
            )
        copy_state(layer.se, copy.se)
        copy.scale.assign(factors)
        copy.shift.assign(summands)
    else:
        copy.kernel.assign(factors)
        copy.bias.assign(summands)
