"""What `fit` does besides training: checkpoints, preemption, averages."""

import dataclasses
import signal

import keras
import numpy as np
from keras import ops

from keras_epsanet.training.checkpoints import add_to_metrics, read_metrics

# EX_TEMPFAIL of sysexits.h: try again.
PREEMPTED = 75


class Preemption:
    """Remembers that the process was asked to end (SIGTERM).

    Between the signal and the end of the running step the process goes on,
    so that `Checkpointing` can save it.

    Attributes:
        requested: Whether the signal has come.

    Example:

    >>> import os
    >>> preemption = Preemption()
    >>> os.kill(os.getpid(), signal.SIGTERM)
    >>> preemption.requested
    True
    >>> preemption.stop()
    """

    def __init__(self):
        self.requested = False
        self._previous = signal.getsignal(signal.SIGTERM)
        self.watch()

    def _request(self, number, frame):
        self.requested = True

    def watch(self):
        """Takes the signal back, which TensorFlow's workers take at start."""
        signal.signal(signal.SIGTERM, self._request)

    def stop(self):
        """Gives the signal its former meaning."""
        signal.signal(signal.SIGTERM, self._previous)


class Checkpointing(keras.callbacks.Callback):
    """Saves a training so that it can go on after a kill at any moment.

    A checkpoint is written every `interval` steps and at the end of every
    epoch, after it was evaluated. It goes on in the middle of an epoch: give
    `fit` `initial_epoch=state.epoch`, and data that start with the step
    `state.step`; with steps left of an epoch, `fit` first runs these alone.
    The callback adds to the metrics the sums that they had, as is right for
    means and accuracies. Put it behind the callbacks that write logs, whose
    lines belong to the checkpoint.

    Args:
        run: `RunFolder`.
        state: `State` that `run.restore` returned. It is kept up to date.
        interval: Integer, steps from one checkpoint to the next.
        preemption: Optional `Preemption`. If it is requested the process
            saves after the step, or after the evaluation at the end of an
            epoch, and ends with the exit code 75.
        agree: Optional function of a boolean that returns whether it is true
            for any of several workers, which is asked after every step.
        monitor: Name of the logged value whose highest makes the best epoch.

    Raises:
        FloatingPointError: From `fit`, if the loss or a weight is not
            finite. It names the step; no checkpoint is written.
        OSError: From `fit`, if a checkpoint cannot be written.
        SystemExit: From `fit`, with code 75, after a preemption.
    """

    def __init__(
        self,
        run,
        state,
        interval,
        preemption=None,
        agree=bool,
        monitor="val_top1",
    ):
        super().__init__()
        self.run = run
        self.state = state
        self.interval = interval
        self.preemption = preemption
        self.agree = agree
        self.monitor = monitor
        self._saved = state.step

    def on_epoch_begin(self, epoch, logs=None):
        self._before = self.state.step

    def on_train_batch_end(self, batch, logs=None):
        step = self.state.step = self._before + batch + 1
        loss = float(logs["loss"])
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"The loss is {loss} at step {step}. The last good "
                f"checkpoint is of step {self._saved}"
            )
        if self.state.metrics:
            # Not before the first step, in which Keras makes the metrics.
            add_to_metrics(self.model, self.state.metrics)
            self.state.metrics = []
        if step % self.state.steps_per_epoch == 0:
            return  # `on_epoch_end` saves, with the evaluation.
        preempted = self._is_preempted()
        if preempted or step % self.interval == 0:
            self._save(read_metrics(self.model))
        if preempted:
            raise SystemExit(PREEMPTED)

    def on_epoch_end(self, epoch, logs=None):
        value = logs.get(self.monitor)
        best = self.state.best_value
        if value is not None and (best is None or value > best):
            self.state.best_value = float(value)
            self.state.best_step = self.state.step
        self._save([])
        if epoch + 1 < self.run.recipe.epochs and self._is_preempted():
            raise SystemExit(PREEMPTED)

    def _is_preempted(self):
        requested = self.preemption is not None and self.preemption.requested
        return self.agree(requested)

    def _save(self, metrics):
        state = dataclasses.replace(self.state, metrics=metrics)
        self.run.save(self.model, state)
        self._saved = state.step


class EvaluateAverage(keras.callbacks.Callback):
    """Evaluates the average of the weights (`use_ema`) in their place.

    As `keras.callbacks.SwapEMAWeights`, which exchanges them by sums and
    thereby rounds the weights; here they come back bit for bit. They also
    come back at the end of `fit`, which Keras ends with the average, so that
    another `fit` goes on with them.
    """

    def on_test_begin(self, logs=None):
        self._weights = swap_in_average(self.model)

    def on_test_end(self, logs=None):
        for variable, value in self._weights:
            variable.assign(value)

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == self.params["epochs"]:
            self.on_test_begin()
            self.on_test_end()

    def on_train_end(self, logs=None):
        self.on_test_end()


def swap_in_average(model):
    """Gives a model's weights the values of their average.

    Args:
        model: Compiled `keras.Model`.

    Returns:
        List of pairs, variable and the value that it had; empty if the
        optimizer keeps no average.
    """
    optimizer = model.optimizer
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if not optimizer.use_ema:
        return []
    previous = []
    for variable, average in zip(
        optimizer._trainable_variables,
        optimizer._model_variables_moving_average,
    ):
        if average is not None:
            previous.append((variable, ops.convert_to_numpy(variable)))
            variable.assign(ops.convert_to_numpy(average))
    return previous


def any_worker(strategy):
    """Makes a function that several workers call to agree.

    Args:
        strategy: What `make_strategy` returned.

    Returns:
        Function of a boolean that returns whether any worker called it with
        `True`. It waits until all have called it.

    Example:

    >>> import tensorflow as tf
    >>> any_worker(tf.distribute.get_strategy())(True)
    True
    """
    resolver = getattr(strategy, "cluster_resolver", None)
    if resolver is None or not resolver.task_type:
        return bool
    import tensorflow as tf

    @tf.function
    def total(flag):
        return strategy.reduce("SUM", strategy.run(lambda: flag), axis=None)

    return lambda flag: bool(total(tf.constant(float(flag))) > 0)
