"""Moving statistics of BatchNorm from the batches of a data set."""

import contextlib

import keras
import numpy as np
from keras import ops

from keras_epsanet.distribution.input_batches import (
    count_batches,
    input_batches,
)
from keras_epsanet.distribution.replicas import num_replicas, share_statistics


def recalibrate_batch_norm(
    model, dataset, steps=None, batch_size=32, verbose=0
):
    """Sets the moving statistics of each BatchNorm to those of a data set.

    Weights that were converted or averaged do not have
    the means and variances that the BatchNorms remember. This runs batches
    forward in training mode, without learning, and sets the moving mean and
    variance of each BatchNorm to the mean of those of the batches; the
    exponential average of training would keep a part of the former ones, and
    count the last batches most. Nothing of the former ones is kept.

    Every image counts the same, so that a smaller last batch counts less. A
    layer that is called several times in a pass counts each of its calls.
    The variance is that of training, which Keras divides by the number of
    values (no correction of its bias). Layers with `trainable=False` or
    `norm_eval=True`, and those that the model calls with `training=False`,
    do not learn statistics in training and keep theirs here too. With
    `renorm=True` the standard deviations are averaged, as in training.

    Nothing else changes: neither other weights and optimizer nor the seeds
    of `Dropout`, which the passes use, so that a second call gives the same.
    If the data raise an error in the middle, the statistics are as before.

    Under a `tf.distribute` strategy each batch is computed whole on one
    device, and all replicas get the result; several processes each read
    their own `dataset` and get the mean of all.

    Args:
        model: Built `keras.Model`, functional or not, whose BatchNorms are
            `keras.layers.BatchNormalization`, those of this package or other
            subclasses, at any depth.
        dataset: Batches of images as `fit` takes them: a `tf.data.Dataset`,
            `keras.utils.PyDataset`, PyTorch `DataLoader`, generator or other
            iterable of batches `x`, `(x, y)` or `(x, y, sample_weight)`. Or
            the images themselves: an array, a dictionary of the inputs or a
            tuple `(x, y)`. Only `x`, which may be a structure, is used.
        steps: Optional integer, the most batches that are taken; `None`
            takes all.
        batch_size: Integer, images in a batch if `dataset` is an array.
        verbose: 1 shows a progress bar, 2 one line, 0 nothing.

    Raises:
        ValueError: If no BatchNorm of the model learns statistics, the model
            is not built, `dataset` is empty, or endless without `steps`,
            `steps` or `batch_size` is less than 1, or a statistic is not
            finite. The model is as before.

    Example:

    >>> model = keras.Sequential(
    ...     [keras.Input((1,)), keras.layers.BatchNormalization()]
    ... )
    >>> recalibrate_batch_norm(model, np.array([[1.0], [3.0]]))
    >>> norm = model.layers[0]
    >>> float(norm.moving_mean[0]), float(norm.moving_variance[0])
    (2.0, 1.0)

    Reference: section 3.1 of [Batch
    Normalization](https://arxiv.org/abs/1502.03167), algorithm 2.
    """
    number = count_batches(dataset, steps, batch_size)
    norms = _learning_norms(model)
    totals = [_Total(norm) for norm in norms]
    step = _make_step(model, norms)
    # Values are handed on from pass to pass, not assigned.
    values = [_finite(variable, norms) for variable in model.variables]
    bar = keras.utils.Progbar(number, verbose=verbose, unit_name="batch")
    batches = 0
    for size, x in input_batches(dataset, steps, batch_size):
        found, changed = step(values, x)
        for i, value in changed.items():
            values[int(i)] = value
        for total, statistics in zip(totals, found):
            total.add(size, statistics)
        batches += 1
        bar.update(batches, finalize=False)
    if not batches:
        raise ValueError(
            f"`dataset` must hold images. Received: dataset={dataset}"
        )
    bar.update(batches, finalize=True)
    _assign(model, [pair for total in totals for pair in total.updates()])


def _learning_norms(model):
    """Returns the BatchNorms that learn statistics in training, each once."""
    norms = {
        layer: None
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    }
    if not norms:
        raise ValueError(
            f"`model` has no BatchNormalization layer. Received: model={model}"
        )
    unbuilt = [norm.name for norm in norms if not norm.built]
    if unbuilt:
        raise ValueError(
            "`model` must be built: call it once before. Not built are "
            f"{', '.join(unbuilt)}. Received: model={model}"
        )
    learning = [
        norm
        for norm in norms
        if norm.trainable and not getattr(norm, "norm_eval", False)
    ]
    if not learning:
        raise ValueError(
            "No BatchNormalization layer of `model` learns statistics: all "
            "have `trainable=False` or `norm_eval=True`. "
            f"Received: model={model}"
        )
    return learning


def _statistics(norm):
    """The two variables that move, of which batches are averaged."""
    # With `renorm` the moving variance is computed from the deviation.
    return norm.moving_mean, (
        norm.moving_stddev if norm.renorm else norm.moving_variance
    )


class _Total:
    """Sums of the statistics of a BatchNorm, in float64."""

    def __init__(self, norm):
        self.norm = norm
        self.weight, self.sums = 0, [0.0, 0.0]

    def add(self, size, calls):
        for statistics in calls:
            self.weight += size
            for i, array in enumerate(map(ops.convert_to_numpy, statistics)):
                self.sums[i] = self.sums[i] + size * array.astype("float64")

    def updates(self):
        """Returns pairs of a variable and its new value."""
        if not self.weight:
            return []
        mean, spread = (total / self.weight for total in self.sums)
        if not (np.isfinite(mean).all() and np.isfinite(spread).all()):
            raise ValueError(
                "The data give statistics that are not finite, first in "
                f"layer {self.norm.path}. Received: mean={mean}"
            )
        pairs = list(zip(_statistics(self.norm), (mean, spread)))
        if self.norm.renorm:
            variance = np.maximum(spread**2 - self.norm.epsilon, 0)
            pairs.append((self.norm.moving_variance, variance))
        return pairs


def _finite(variable, norms):
    """The value of a variable; numbers, if it is a statistic."""
    value = ops.convert_to_tensor(variable)
    if any(v is variable for norm in norms for v in _statistics(norm)):
        # They are multiplied by a momentum of 0, which NaN would survive.
        return ops.nan_to_num(value, nan=0.0, posinf=0.0, neginf=0.0)
    return value


def _make_step(model, norms):
    """Returns a function that runs a batch, compiled where `fit` would."""

    def step(values, x):
        scope = keras.StatelessScope(list(zip(model.variables, values)))
        given = [scope.get_current_value(v) for v in model.variables]
        found = [[] for _ in norms]
        with contextlib.ExitStack() as stack:
            stack.enter_context(scope)
            for norm, calls in zip(norms, found):
                stack.enter_context(_recorded(norm, calls, scope))
            model(x, training=True)
        now = [scope.get_current_value(v) for v in model.variables]
        changed = {
            str(i): value
            for i, (value, old) in enumerate(zip(now, given))
            if value is not old
        }
        return found, changed

    if keras.backend.backend() == "torch":
        import torch

        return torch.no_grad()(step)
    if getattr(model, "run_eagerly", False):
        return step
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(step)
    import tensorflow as tf

    return tf.function(step, reduce_retracing=True)


@contextlib.contextmanager
def _recorded(norm, calls, scope):
    """Makes a BatchNorm add the statistics of each call to a list."""
    variables = [*_statistics(norm), norm.moving_variance]
    given = [scope.get_current_value(v) for v in variables]
    call, momentum, synchronized = norm.call, norm.momentum, norm.synchronized

    def recorded_call(*args, **kwargs):
        outputs = call(*args, **kwargs)
        now = [scope.get_current_value(v) for v in variables]
        if now[0] is not given[0]:
            # Halves as well, which NumPy may not know.
            calls.append(
                [
                    ops.cast(
                        value, keras.backend.result_type(v.dtype, "float32")
                    )
                    for v, value in zip(variables[:2], now)
                ]
            )
            # Another call may be one of inference, with the former ones.
            for update in zip(variables, given):
                scope.add_update(update)
        return outputs

    norm.call = recorded_call
    norm.momentum, norm.synchronized = 0.0, False  # One device has it whole.
    try:
        yield
    finally:
        del norm.call
        norm.momentum, norm.synchronized = momentum, synchronized


def _assign(model, updates):
    if not updates:
        raise ValueError(
            "`model` ran no BatchNormalization layer in training mode: all "
            f"are called with `training=False`. Received: model={model}"
        )
    strategy = getattr(model, "distribute_strategy", None)
    scope = contextlib.nullcontext()
    if num_replicas(strategy) > 1:
        scope = strategy.scope()
    with scope:
        for variable, value in updates:
            variable.assign(ops.cast(value, variable.dtype))
    share_statistics(model)
