"""The networks of the paper and what belongs to their inputs and outputs."""

from keras_epsanet.models.backbone import EPSANetBackbone
from keras_epsanet.models.epsanet import EPSANet
from keras_epsanet.models.preprocessing import (
    decode_predictions,
    preprocess_input,
)
from keras_epsanet.models.variants import (
    EPSANet50Large,
    EPSANet50Small,
    EPSANet101Large,
    EPSANet101Small,
)

__all__ = [
    "EPSANet",
    "EPSANet50Large",
    "EPSANet50Small",
    "EPSANet101Large",
    "EPSANet101Small",
    "EPSANetBackbone",
    "decode_predictions",
    "preprocess_input",
]
