"""The learning rate of the paper's recipe and of its usual variants."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_epsanet")
class EpochSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate that changes with the epochs, for every step.

    Args:
        peak: Float, the highest rate.
        steps_per_epoch: Integer.
        epochs: Integer, length of the training.
        kind: `"step"`: times `decay_factor` after every `decay_epochs`
            (section 4.1 of the paper: a tenth after every 30);
            `"cosine"`: along half a cosine to 0, which the step after the
            last would have.
        decay_epochs: Number of epochs; or a tuple of them, after each of
            which the rate falls once.
        decay_factor: Float.
        warm_up_epochs: Number of epochs in which the rate rises linearly to
            `peak`; step 0 has one of these parts already. Steps are counted
            from the start of the training for `"step"`, from the end of the
            warm-up for `"cosine"`.

    Raises:
        ValueError: If `kind` is something else.

    Example:

    >>> schedule = EpochSchedule(0.1, steps_per_epoch=10, epochs=120)
    >>> [round(float(schedule(step)), 6) for step in (0, 299, 300, 900)]
    [0.1, 0.1, 0.01, 0.0001]
    """

    def __init__(
        self,
        peak,
        steps_per_epoch,
        epochs,
        kind="step",
        decay_epochs=30,
        decay_factor=0.1,
        warm_up_epochs=0,
    ):
        super().__init__()
        if kind not in ("step", "cosine"):
            raise ValueError(
                f'`kind` must be "step" or "cosine". Received: kind={kind}'
            )
        self.peak = peak
        self.steps_per_epoch = steps_per_epoch
        self.epochs = epochs
        self.kind = kind
        self.decay_epochs = decay_epochs
        self.decay_factor = decay_factor
        self.warm_up_epochs = warm_up_epochs

    def __call__(self, step):
        warm_up = round(self.warm_up_epochs * self.steps_per_epoch)
        # Whole numbers, which float32 would round beyond 2 ** 24 steps.
        step = ops.cast(step, "int32")
        if self.kind == "step":
            times = ops.cast(self._count_decays(step), "float32")
            rate = self.peak * ops.power(float(self.decay_factor), times)
        else:
            length = max(1, self.epochs * self.steps_per_epoch - warm_up)
            part = ops.cast(step - warm_up, "float32") / length
            part = ops.clip(part, 0.0, 1.0)
            rate = self.peak * (1 + ops.cos(math.pi * part)) / 2
        if not warm_up:
            return rate
        rising = self.peak * ops.cast(step + 1, "float32") / warm_up
        return ops.where(step < warm_up, rising, rate)

    def _count_decays(self, step):
        if isinstance(self.decay_epochs, (list, tuple)):
            steps = [round(n * self.steps_per_epoch) for n in self.decay_epochs]
            return ops.sum(ops.cast(step >= ops.array(steps, "int32"), "int32"))
        length = max(1, round(self.decay_epochs * self.steps_per_epoch))
        return ops.floor_divide(step, length)

    def get_config(self):
        return {
            "peak": self.peak,
            "steps_per_epoch": self.steps_per_epoch,
            "epochs": self.epochs,
            "kind": self.kind,
            "decay_epochs": self.decay_epochs,
            "decay_factor": self.decay_factor,
            "warm_up_epochs": self.warm_up_epochs,
        }
