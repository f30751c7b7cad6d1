"""Optimizer, devices and recipe of the paper's training on ImageNet.

What needs TensorFlow imports it when it is used.
"""

from keras_epsanet.training.loss_scale import LossScale
from keras_epsanet.training.sgd_l2 import SGDL2
from keras_epsanet.training.strategy import (
    is_chief,
    make_strategy,
    num_replicas,
)

__all__ = ["LossScale", "SGDL2", "is_chief", "make_strategy", "num_replicas"]
