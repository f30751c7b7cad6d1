"""Batches of any size on several devices.

What needs TensorFlow imports it when it is used.
"""

from keras_epsanet.distribution.batches import (
    check_batch_size,
    divide_batches,
    pad_to_devices,
)
from keras_epsanet.distribution.prediction import predict
from keras_epsanet.distribution.replicas import num_replicas

__all__ = [
    "check_batch_size",
    "divide_batches",
    "num_replicas",
    "pad_to_devices",
    "predict",
]
