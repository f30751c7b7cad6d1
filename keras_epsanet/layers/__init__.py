"""The layers of the paper, for use in any Keras network."""

from keras_epsanet.layers.batch_normalization import BatchNormalization
from keras_epsanet.layers.bias import Bias
from keras_epsanet.layers.class_names import ClassNames
from keras_epsanet.layers.grouped_conv2d import GroupedConv2D
from keras_epsanet.layers.psa import PSA
from keras_epsanet.layers.resizing import Resizing
from keras_epsanet.layers.se_weight import SEWeight
from keras_epsanet.layers.spc import SPC

__all__ = [
    "BatchNormalization",
    "Bias",
    "ClassNames",
    "GroupedConv2D",
    "PSA",
    "Resizing",
    "SEWeight",
    "SPC",
]
