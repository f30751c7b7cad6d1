"""Weights in files: Keras' own and those of PyTorch's implementations."""

from keras_epsanet.weights.torch_names import (
    load_torch_weights,
    save_torch_weights,
)

__all__ = ["load_torch_weights", "save_torch_weights"]
