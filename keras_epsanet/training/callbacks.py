"""What `fit` does besides training: checkpoints and preemption."""

import dataclasses
import faulthandler
import os
import signal

import keras
import numpy as np

from keras_epsanet.distribution.replicas import share_statistics, worker
from keras_epsanet.training.checkpoints import add_to_metrics, read_metrics

# EX_TEMPFAIL of sysexits.h: try again.
PREEMPTED = 75
# The graph of a large network takes minutes, and so may a checkpoint.
HANG_SECONDS = 1800


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


class Interruption(Preemption):
    """Ctrl-C or SIGTERM, after which the running step is saved.

    A second Ctrl-C ends at once.

    Attributes:
        requested: Whether one of them has come.
        exit_code: Integer, 130 after Ctrl-C, 75 after SIGTERM.
    """

    def __init__(self):
        self.exit_code = PREEMPTED
        super().__init__()

    def watch(self):
        super().watch()
        self._before = signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, number, frame):
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        self.exit_code = 128 + number
        # Not `print`, which may be at work.
        os.write(2, b"\nSaving after this step; Ctrl-C again ends at once.\n")

    def stop(self):
        super().stop()
        signal.signal(signal.SIGINT, self._before)


class Checkpointing(keras.callbacks.Callback):
    """Saves a training so that it can go on after a kill at any moment.

    A checkpoint is written every `interval` steps and at the end of every
    epoch, after it was evaluated. It goes on in the middle of an epoch: give
    `fit` `initial_epoch=state.epoch`, and data that start with the step
    `state.step`; with steps left of an epoch, `fit` first runs these alone.
    The callback adds to the metrics the sums that they had, as is right for
    means and accuracies. Put it behind the callbacks that write logs, whose
    lines belong to the checkpoint. What is saved and evaluated has the means
    of the BatchNorm statistics of all replicas.

    Args:
        run: `RunFolder`.
        state: `State` that `run.restore` returned. It is kept up to date.
        interval: Integer, steps from one checkpoint to the next.
        preemption: Optional `Preemption`. If it is requested the process
            saves after the step, or after the evaluation at the end of an
            epoch, and ends with the exit code 75.
        agree: Optional function of a boolean that returns whether it is true
            for any of several workers, which is asked after every step.
        monitor: Name of the logged value whose highest makes the best epoch;
            NaN is that of an epoch that was not evaluated.
        average: `WeightAverage` of the model, which is saved too, or `None`.
        before_evaluation: Whether the end of an epoch is saved before it is
            evaluated too, so that an evaluation that fails costs no step.
            `end_epoch` then evaluates it where the training goes on. A
            preempted process leaves the evaluation to this.

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
        average=None,
        before_evaluation=False,
    ):
        super().__init__()
        self.run = run
        self.state = state
        self.interval = interval
        self.preemption = preemption
        self.agree = agree
        self.monitor = monitor
        self.average = average
        self.before_evaluation = before_evaluation
        self._saved = state.step

    def on_epoch_begin(self, epoch, logs=None):
        self._before = self.state.step

    def on_train_batch_end(self, batch, logs=None):
        step = self.state.step = self._before + batch + 1
        # A Python number, which Keras has waited for: it gives no tensors to
        # a callback that must not run beside the next step.
        loss = logs["loss"]
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
            if not self.before_evaluation:
                return  # `on_epoch_end` saves, with the evaluation.
            # With the sums that were added just now, if any were.
            values = self.model.get_metrics_result()
            self.state.logs = {
                name: float(values.get(name, value))
                for name, value in logs.items()
            }
            self._save([])
            preempted = self._is_preempted()
        else:
            preempted = self._is_preempted()
            if preempted or step % self.interval == 0:
                self._save(read_metrics(self.model))
        if preempted:
            raise SystemExit(PREEMPTED)

    def on_epoch_end(self, epoch, logs=None):
        self.state.logs = None
        value = logs.get(self.monitor)
        best = self.state.best_value
        known = value is not None and not np.isnan(value)
        if known and (best is None or value > best):
            self.state.best_value = float(value)
            self.state.best_step = self.state.step
        self._save([])
        if epoch + 1 < self.run.recipe.epochs and self._is_preempted():
            raise SystemExit(PREEMPTED)

    def _is_preempted(self):
        requested = self.preemption is not None and self.preemption.requested
        return self.agree(requested)

    def on_test_begin(self, logs=None):
        share_statistics(self.model)

    def _save(self, metrics):
        share_statistics(self.model)
        state = dataclasses.replace(self.state, metrics=metrics)
        self.run.save(self.model, state, self.average)
        self._saved = state.step


class Watchdog(keras.callbacks.Callback):
    """Ends a process that makes no progress, or waits for one that does not.

    A worker that waits for its data forever is alive, so that the others
    wait for it: nothing ends them. The watchdog writes what every thread is
    doing to the standard error and ends the process with 1, so that whatever
    started it can start it again. It is a callback of `fit`, with its
    evaluations, and of an `evaluate` of its own; what is done between them,
    such as the export of the weights, it does not watch. If `fit` raises an
    error it stays, for workers may wait for one another at their end too.

    Args:
        seconds: Number, the longest time without progress: to the end of
            the next batch of training or of evaluation, or to the beginning
            or the end of an epoch or of an evaluation. `None` means half an
            hour.
    """

    def __init__(self, seconds=None):
        super().__init__()
        self.seconds = HANG_SECONDS if seconds is None else seconds
        self._fits = False

    def restart(self, *arguments, **options):
        """Says that there was progress, where no callback is told of it."""
        faulthandler.dump_traceback_later(self.seconds, exit=True)

    on_epoch_begin = on_train_batch_end = on_epoch_end = restart
    on_test_begin = on_test_batch_end = restart

    def on_train_begin(self, logs=None):
        self._fits = True
        self.restart()

    def on_test_end(self, logs=None):
        if self._fits:
            self.restart()
        else:
            faulthandler.cancel_dump_traceback_later()

    def on_train_end(self, logs=None):
        self._fits = False
        faulthandler.cancel_dump_traceback_later()


def watchdogs(strategy):
    """Makes what ends a worker that others wait for, if there are others.

    Args:
        strategy: What `keras_epsanet.distribution.make_strategy` returned.

    Returns:
        List of a `Watchdog`; empty for a process that trains alone.
    """
    return [Watchdog()] if worker(strategy)[1] > 1 else []


def end_epoch(model, state, callbacks):
    """Evaluates and logs an epoch that was trained, but not evaluated.

    Args:
        model: Compiled `keras.Model`.
        state: `State` that `run.restore` returned.
        callbacks: List of the callbacks of `fit`: those that evaluate, those
            that write logs, and `Checkpointing` with `before_evaluation`.
    """
    if state.logs is None:
        return
    epoch = state.logged_epochs
    callbacks = keras.callbacks.CallbackList(callbacks, model=model)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(epoch)
    callbacks.on_epoch_end(epoch, dict(state.logs))
    callbacks.on_train_end()
