"""Weights in files: Keras' own, those of PyTorch, and public ResNets."""

from keras_epsanet.weights.inherit import Inheritance, inherit_weights
from keras_epsanet.weights.public_files import PUBLIC_FILES
from keras_epsanet.weights.torch_names import (
    load_torch_weights,
    save_torch_weights,
)

__all__ = [
    "PUBLIC_FILES",
    "Inheritance",
    "inherit_weights",
    "load_torch_weights",
    "save_torch_weights",
]
