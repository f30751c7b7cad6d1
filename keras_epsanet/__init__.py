"""EPSANet, pyramid split attention, for Keras 3.

All that a saved file can hold is registered here, so that
`keras.saving.load_model` needs no other import.
"""

from keras_epsanet import attention, distribution, layers, models
from keras_epsanet.classification import branched
from keras_epsanet.classification.comparison import psa_variants
from keras_epsanet.detection import faster_rcnn, mask_rcnn, retinanet
from keras_epsanet.graph.autotune import autotune
from keras_epsanet.graph.complexity import complexity
from keras_epsanet.graph.fuse import fuse
from keras_epsanet.graph.recalibrate import recalibrate_batch_norm
from keras_epsanet.graph.replace import (
    replace_convolutions,
    replacement_report,
)
from keras_epsanet.lazy import attach
from keras_epsanet.models import (
    AttentionSlot,
    EPSANet,
    EPSANet50Large,
    EPSANet50Small,
    EPSANet101Large,
    EPSANet101Small,
    EPSANetBackbone,
    ResNet,
    ResNet50,
    ResNet101,
    ResNetBackbone,
    decode_predictions,
    preprocess_input,
)
from keras_epsanet.moved import keep_former_names
from keras_epsanet.training import adam, loss_scale, schedule, sgd_l2
from keras_epsanet.weights import (
    inherit_weights,
    load_torch_weights,
    save_torch_weights,
)

__version__ = "0.1.0"

keep_former_names()
# Imported for what they register; all else in their packages, and all of
# `data`, `explain` and `hub`, is imported when it is first used.
del adam, branched, faster_rcnn, loss_scale, mask_rcnn, psa_variants, retinanet
del schedule, sgd_l2

__getattr__, _, _ = attach(__name__, {})

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
    "attention",
    "autotune",
    "complexity",
    "data",
    "decode_predictions",
    "detection",
    "distribution",
    "explain",
    "fuse",
    "hub",
    "inherit_weights",
    "layers",
    "load_torch_weights",
    "models",
    "preprocess_input",
    "recalibrate_batch_norm",
    "replace_convolutions",
    "replacement_report",
    "save_torch_weights",
    "training",
]


def __dir__():
    return sorted({*globals(), *__all__})
