"""The networks of the paper and what belongs to their inputs and outputs."""

from keras_epsanet.models.attention_slot import AttentionSlot
from keras_epsanet.models.backbone import EPSANetBackbone
from keras_epsanet.models.epsanet import EPSANet
from keras_epsanet.models.preprocessing import (
    decode_predictions,
    preprocess_input,
)
from keras_epsanet.models.resnet import ResNet
from keras_epsanet.models.resnet_backbone import ResNetBackbone
from keras_epsanet.models.resnet_variants import ResNet50, ResNet101
from keras_epsanet.models.variants import (
    EPSANet50Large,
    EPSANet50Small,
    EPSANet101Large,
    EPSANet101Small,
)

__all__ = [
    "AttentionSlot",
    "EPSANet",
    "EPSANet50Large",
    "EPSANet50Small",
    "EPSANet101Large",
    "EPSANet101Small",
    "EPSANetBackbone",
    "ResNet",
    "ResNet101",
    "ResNet50",
    "ResNetBackbone",
    "decode_predictions",
    "preprocess_input",
]
