"""Recipes, optimizer, checkpoints and logs of trainings.

What needs TensorFlow imports it when it is used.
"""

from keras_epsanet.distribution import (
    any_worker,
    is_chief,
    make_strategy,
    num_replicas,
)
from keras_epsanet.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "adam": ["ScaledAdam"],
        "average": ["WeightAverage"],
        "callbacks": [
            "Checkpointing",
            "Interruption",
            "PREEMPTED",
            "Preemption",
            "Watchdog",
            "end_epoch",
            "watchdogs",
        ],
        "checkpoints": ["State"],
        "classifier_recipe": ["ClassifierRecipe"],
        "coco_recipe": ["COCO", "CocoRecipe"],
        "from_recipe": [
            "make_average",
            "make_loss",
            "make_optimizer",
            "make_schedule",
            "synchronized",
        ],
        "imagenet_recipe": ["IMAGENET", "ImageNetRecipe"],
        "logs": [
            "EpochLog",
            "ScalarEvents",
            "csv_logger",
            "make_logs",
            "timed_batches",
            "timed_input",
            "trim_csv",
        ],
        "loss_scale": ["LossScale"],
        "recipe": ["Recipe"],
        "resume": [
            "check_same_step",
            "has_checkpoints",
            "open_run",
            "read_recipe",
            "resume_recipe",
        ],
        "run_folder": ["RunFolder"],
        "schedule": ["EpochSchedule"],
        "sgd_l2": ["SGDL2"],
    },
)
# Kept here: they were here before `distribution` was.
__all__ += ["any_worker", "is_chief", "make_strategy", "num_replicas"]
