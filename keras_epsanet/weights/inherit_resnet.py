"""A ResNet's weights for an EPSANet of the same depth and width."""

from typing import NamedTuple

import numpy as np

from keras_epsanet.layers import PSA
from keras_epsanet.weights.embedding import (
    Pyramid,
    best_orders,
    dense_kernel,
    embed,
    exact_order,
)
from keras_epsanet.weights.layer_names import (
    BLOCK,
    network_layers,
)
from keras_epsanet.weights.network_entries import network_entries


class Plan(NamedTuple):
    """What is to be assigned to a model, and what it is worth.

    Attributes:
        assignments: List of pairs of a variable and its array.
        exact: Names of layers that compute what the source computes.
        partly: Dictionary from names of PSA modules to the share of the
            source's kernel that they hold.
        left: Names of layers that nothing is assigned to.
        pairs: List of triples: a module in `partly`, the name of the layer
            of the source it stands for, and which output of that layer each
            of its outputs stands for.
    """

    assignments: list
    exact: list
    partly: dict
    left: list
    pairs: list


def is_network(model):
    """Whether a model is an EPSANet, with layers in front of it or without."""
    layers = getattr(model, "layers", None) or ()
    return any(layer.name.endswith("conv2_block1_psa") for layer in layers)


def plan_resnet(model, weights):
    """Plans what an EPSANet inherits from a ResNet.

    Args:
        model: An EPSANet or `EPSANetBackbone`.
        weights: `ResNetWeights`.

    Returns:
        `Plan`.

    Raises:
        ValueError: If the ResNet has another depth, width or number of
            input channels.
    """
    layers = network_layers(model)
    check_fits(layers, weights)
    plan = Plan([], [], {}, [], [])
    kernels, orders = {}, {}
    for name, layer in layers.items():
        if isinstance(layer, PSA):
            block = _block_of(name)
            kernels[block], orders[block], share = _plan_module(
                layer, block, weights
            )
            if share < 1.0:
                plan.partly[layer.name] = share
                plan.pairs.append((layer, layer.name, orders[block][1]))
    skip = _skips_classifier(layers, weights)
    for entry in network_entries(model):
        block, is_module, inner = entry.key.rpartition(".conv2.")
        if is_module:
            array = _of_module(inner, kernels[block], entry.variable.shape)
        elif skip and entry.key.startswith("fc."):
            array = None
        else:
            array = _reorder(entry.key, weights.state[entry.key], orders)
            # In the paper's order: the scales are not turned round.
            array = entry._replace(scales=1).from_torch(array)
        if array is not None:
            plan.assignments.append((entry.variable, array))
    for name, layer in layers.items():
        if name == "predictions" and skip:
            plan.left.append(layer.name)
        elif layer.name not in plan.partly:
            plan.exact.append(layer.name)
    return plan


def _block_of(name):
    stage, block, _ = BLOCK.fullmatch(name).groups()
    return f"layer{int(stage) - 1}.{int(block) - 1}"


def _plan_module(psa, block, weights):
    """Returns the kernels of a module, its orders, and the share it holds."""
    state, filters = weights.state, psa.filters
    pyramid = Pyramid(
        filters, filters, psa.kernel_sizes, psa.groups, psa.split_input
    )
    dense = dense_kernel(
        state[f"{block}.conv2.weight"].transpose(2, 3, 1, 0), weights.groups
    )
    inputs = np.arange(filters)
    outputs = exact_order(weights.groups, pyramid)
    if outputs is not None:
        kernels, share = embed(dense[..., outputs], pyramid)
        if share == 1.0:
            return kernels, (inputs, outputs), share
    inputs, outputs = best_orders(dense, pyramid, _moments(block, state))
    kernels, share = embed(dense[:, :, inputs][..., outputs], pyramid)
    return kernels, (inputs, outputs), share


def _moments(block, state):
    """Mean squares of what bn1 and its ReLU make of a normal distribution."""
    from scipy.special import ndtr

    scale = np.abs(state[f"{block}.bn1.weight"].astype("float64")) + 1e-12
    shift = state[f"{block}.bn1.bias"].astype("float64")
    ratio = shift / scale
    density = np.exp(-np.square(ratio) / 2) / np.sqrt(2 * np.pi)
    squares = (shift**2 + scale**2) * ndtr(ratio) + shift * scale * density
    return np.maximum(squares, 0.0)


def _of_module(inner, kernels, shape):
    """The Keras array of a module's entry; `None` leaves it as it is."""
    if inner.startswith("conv_"):
        return kernels[int(inner.split(".")[0].removeprefix("conv_")) - 1]
    if inner.startswith("se.fc2."):
        return np.zeros(shape, "float32")  # Neutral attention.
    return None


def _reorder(key, array, orders):
    """Puts the channels around a module into its orders."""
    block, _, inner = key.removesuffix(".weight").rpartition(".conv")
    if inner in ("1", "3") and block in orders:
        inputs, outputs = orders[block]
        return array[inputs] if inner == "1" else array[:, outputs]
    block, _, inner = key.rpartition(".bn")
    if block in orders and inner[0] in "12":
        return array[orders[block][int(inner[0]) - 1]]
    return array


def _skips_classifier(layers, weights):
    classifier = layers.get("predictions")
    return classifier is not None and classifier.units != weights.classes


def check_fits(layers, weights):
    """Raises unless a ResNet has the depth and width of a network.

    Args:
        layers: What `network_layers` returned of the network.
        weights: `ResNetWeights`, of whose state the stem is enough.

    Raises:
        ValueError: If it has another depth, width or number of channels.
    """
    modules = {
        name: layer
        for name, layer in layers.items()
        if BLOCK.fullmatch(name) and name.endswith("_psa")
    }
    if "conv1_bn" not in layers or not all(
        isinstance(layer, PSA) for layer in modules.values()
    ):
        raise ValueError(
            "The model must not be fused: its batch normalizations are what "
            f"it inherits. Received: layers {list(layers)[:4]}, ..."
        )
    stages = {}
    for name, layer in modules.items():
        stages.setdefault(BLOCK.fullmatch(name)[1], []).append(layer.filters)
    stem = layers["conv1_conv"].kernel.shape[2]
    first = layers["conv2_block1_3_conv"].filters // stages["2"][0]
    found = {
        "blocks": tuple(weights.blocks),
        "filters of the 3×3 convolutions": tuple(weights.filters),
        "filters of a block's output for each of them": weights.expansion,
        "channels of an image": weights.state["conv1.weight"].shape[1],
    }
    wanted = {
        "blocks": tuple(len(filters) for filters in stages.values()),
        "filters of the 3×3 convolutions": tuple(
            filters[0] for filters in stages.values()
        ),
        "filters of a block's output for each of them": first,
        "channels of an image": stem,
    }
    if found != wanted:
        differ = "; ".join(
            f"{name}: {found[name]}, the model {wanted[name]}"
            for name in found
            if found[name] != wanted[name]
        )
        raise ValueError(
            f"{weights.name} does not fit the model, which was left as it "
            f"was. Received: a source with {differ}"
        )
