"""Optimizer, devices and recipe of the paper's training on ImageNet.

What needs TensorFlow imports it when it is used.
"""

from keras_epsanet.distribution import (
    any_worker,
    is_chief,
    make_strategy,
    num_replicas,
)
from keras_epsanet.training.average import WeightAverage
from keras_epsanet.training.callbacks import (
    PREEMPTED,
    Checkpointing,
    Interruption,
    Preemption,
    end_epoch,
)
from keras_epsanet.training.checkpoints import State
from keras_epsanet.training.classifier_recipe import ClassifierRecipe
from keras_epsanet.training.coco_recipe import COCO, CocoRecipe
from keras_epsanet.training.from_recipe import (
    make_average,
    make_loss,
    make_optimizer,
    make_schedule,
    synchronized,
)
from keras_epsanet.training.imagenet_recipe import IMAGENET, ImageNetRecipe
from keras_epsanet.training.logs import (
    EpochLog,
    ScalarEvents,
    timed_input,
    trim_csv,
)
from keras_epsanet.training.loss_scale import LossScale
from keras_epsanet.training.recipe import Recipe
from keras_epsanet.training.resume import open_run, read_recipe, resume_recipe
from keras_epsanet.training.run_folder import RunFolder
from keras_epsanet.training.schedule import EpochSchedule
from keras_epsanet.training.sgd_l2 import SGDL2

__all__ = [
    "COCO",
    "Checkpointing",
    "ClassifierRecipe",
    "CocoRecipe",
    "EpochLog",
    "EpochSchedule",
    "IMAGENET",
    "ImageNetRecipe",
    "Interruption",
    "LossScale",
    "PREEMPTED",
    "Preemption",
    "Recipe",
    "RunFolder",
    "SGDL2",
    "ScalarEvents",
    "State",
    "WeightAverage",
    "any_worker",
    "end_epoch",
    "is_chief",
    "make_average",
    "make_loss",
    "make_optimizer",
    "make_schedule",
    "make_strategy",
    "num_replicas",
    "open_run",
    "read_recipe",
    "resume_recipe",
    "synchronized",
    "timed_input",
    "trim_csv",
]
