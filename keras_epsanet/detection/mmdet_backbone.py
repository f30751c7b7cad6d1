"""The backbone of a detector under the names of MMDetection's."""

import re

from keras_epsanet.models.backbone import EPSANetBackbone
from keras_epsanet.models.resnet_backbone import ResNetBackbone
from keras_epsanet.weights.entries import layer_entries
from keras_epsanet.weights.inherit_resnet import plan_resnet
from keras_epsanet.weights.network_entries import network_entries
from keras_epsanet.weights.resnet_names import read_resnet

# Layers of KerasHub's ResNet, which counts stages from 0.
_HUB = re.compile(r"stack(\d+)_block(\d+)_([0-3])_(conv|bn)")


def backbone_entries(backbone, state=None):
    """Lists the variables of a backbone with their names in PyTorch.

    Args:
        backbone: `ResNetBackbone`, `EPSANetBackbone`, or KerasHub's
            `ResNetBackbone` of bottleneck blocks.
        state: Dictionary whose keys decide between the publishers of the
            backbone's attention, without `backbone.`; `None` for the first.

    Returns:
        List of `Entry` and `Constant`, without `backbone.`.

    Raises:
        ValueError: If the names of the backbone, or of its attention, are
            not known.
    """
    if isinstance(backbone, ResNetBackbone):
        return network_entries(backbone, state)
    if _is_hub_resnet(backbone):
        return _hub_entries(backbone)
    kind = type(backbone)
    raise ValueError(
        "MMDetection's names are known for the backbones ResNetBackbone and "
        "EPSANetBackbone, and for KerasHub's ResNetBackbone of bottleneck "
        "blocks. A state dict without the entries backbone.* loads neck and "
        "heads alone. Received: a detector with the backbone "
        f"{kind.__module__}.{kind.__name__}"
    )


def plan_backbone(backbone, state):
    """Plans what an `EPSANetBackbone` takes from a ResNet, if it is to.

    Args:
        backbone: Backbone of a detector.
        state: Dictionary from names without `backbone.` to arrays.

    Returns:
        List of pairs of a variable and its array; `None` if the state dict
        has names of the backbone itself, those of `backbone_entries`.

    Raises:
        ValueError: If it is a ResNet that the backbone cannot compute.
    """
    if not isinstance(backbone, EPSANetBackbone):
        return None
    if "layer1.0.conv2.weight" not in state:
        return None
    weights = read_resnet(state)
    plan = plan_resnet(backbone, weights)
    if plan.partly:
        raise ValueError(
            f"The backbone is to compute what {weights.name} does, which "
            "the groups and kernels of its modules cannot hold. "
            "ResNeXt-101 32x4d fits EPSANet-101 Large, a ResNet fits "
            "ResNetBackbone. Received: a backbone whose "
            f"{next(iter(plan.partly))} holds only a part"
        )
    return plan.assignments


def _is_hub_resnet(backbone):
    kind = type(backbone)
    return (
        kind.__module__.startswith("keras_hub.")
        and kind.__name__ == "ResNetBackbone"
        and backbone.block_type == "bottleneck_block"
        and not backbone.use_pre_activation
    )


def _hub_entries(backbone):
    entries = []
    for layer in backbone.layers:
        match = _HUB.fullmatch(layer.name)
        if match:
            stage, block, number, kind = match.groups()
            name = f"{kind}{number}"
            if number == "0":
                name = f"downsample.{int(kind == 'bn')}"
            key = f"layer{int(stage) + 1}.{block}.{name}"
        elif layer.name in ("conv1_conv", "conv1_bn"):
            key = {"conv1_conv": "conv1", "conv1_bn": "bn1"}[layer.name]
        else:
            continue
        entries += layer_entries(key, layer)
    return entries
