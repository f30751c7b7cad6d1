"""ImageNet, or folders like it, in batches for training and evaluation."""

from keras_epsanet.data.imagenet.batches import (
    evaluation_batches,
    training_batches,
)
from keras_epsanet.data.imagenet.source import Source, open_source

__all__ = ["Source", "evaluation_batches", "open_source", "training_batches"]
