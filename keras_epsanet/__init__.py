"""EPSANet, pyramid split attention, for Keras 3.

All that a saved file can hold is registered here, so that
`keras.saving.load_model` needs no other import.
"""

from keras_epsanet import data, detection, distribution, layers, training
from keras_epsanet.graph.complexity import complexity
from keras_epsanet.graph.fuse import fuse
from keras_epsanet.models.backbone import EPSANetBackbone
from keras_epsanet.models.epsanet import EPSANet
from keras_epsanet.models.imagenet import decode_predictions, preprocess_input
from keras_epsanet.models.variants import (
    EPSANet50Large,
    EPSANet50Small,
    EPSANet101Large,
    EPSANet101Small,
)
from keras_epsanet.moved import keep_former_names
from keras_epsanet.torch_weights import load_torch_weights, save_torch_weights

__version__ = "0.1.0"

keep_former_names()

__all__ = [
    "EPSANet",
    "EPSANet50Large",
    "EPSANet50Small",
    "EPSANet101Large",
    "EPSANet101Small",
    "EPSANetBackbone",
    "complexity",
    "data",
    "decode_predictions",
    "detection",
    "distribution",
    "fuse",
    "layers",
    "load_torch_weights",
    "preprocess_input",
    "save_torch_weights",
    "training",
]
