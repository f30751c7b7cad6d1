"""Several devices and workers that train one model, and their batches.

What needs TensorFlow imports it when it is used.
"""

from keras_epsanet.distribution.batches import (
    check_batch_size,
    divide_batches,
    pad_to_devices,
)
from keras_epsanet.distribution.prediction import predict
from keras_epsanet.distribution.replicas import num_replicas
from keras_epsanet.distribution.strategy import (
    any_worker,
    is_chief,
    make_strategy,
)

__all__ = [
    "any_worker",
    "check_batch_size",
    "divide_batches",
    "is_chief",
    "make_strategy",
    "num_replicas",
    "pad_to_devices",
    "predict",
]
