"""The average of the weights, which generalizes better than the last ones."""

import contextlib

import keras
import numpy as np
from keras import ops

from keras_epsanet.training import recipe_fields as kinds


class WeightAverage(keras.callbacks.Callback):
    """Averages all weights of a model over the steps of its training.

    After each update of the weights

        average = d * average + (1 - d) * weight
        d = min(decay, (1 + updates) / (10 + updates))

    for every weight of floating point, BatchNorms' moving statistics
    included: the statistics of other weights would not fit the average. `d`
    starts at 0.1, so that the random initial weights are soon forgotten.
    Where several steps make an update (`gradient_accumulation_steps`), or a
    loss scale leaves one out, only updates count.

    The average takes the place of the weights when `fit` evaluates and when
    an epoch ends; with the next epoch the weights of the training come back
    bit for bit. `fit` therefore ends with the average, and another `fit`
    goes on from the weights of the training, unless something else was
    loaded in between. Put this callback in front of those that evaluate or
    keep the model at the end of an epoch, such as
    `keras.callbacks.EarlyStopping(restore_best_weights=True)`, so that they
    do so with the average; `Checkpointing` keeps both.

    Keras' own `use_ema` averages the trainable weights alone.

    Args:
        model: Built and compiled `keras.Model`.
        decay: Float from 0 to below 1, the share of the average that each
            update keeps.

    Attributes:
        variables: List of `keras.Variable`: the averages, and what counts
            the updates. Their values are all that there is to save.
        is_in_place: Whether the model holds the average.

    Raises:
        ValueError: If `decay` is out of its range, or the model has no
            weights yet.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> average = WeightAverage(model, decay=0.999)
    >>> x, y = np.ones((8, 2)), np.ones((8, 1))
    >>> history = model.fit(x, y, verbose=0, callbacks=[average])
    >>> average.is_in_place
    True
    """

    def __init__(self, model, decay):
        super().__init__()
        self.decay = kinds.check("decay", kinds.FRACTION, decay)
        if not model.weights:
            raise ValueError(
                "`model` must be built, to have weights to average. "
                f"Received: model={model}"
            )
        self.is_in_place = False
        self._weights = [
            weight
            for weight in model.weights
            if keras.backend.is_float_dtype(weight.dtype)
        ]
        self._averages = [_make_average(weight) for weight in self._weights]
        self._updates, self._seen = (
            keras.Variable(0, dtype="int32", trainable=False, name=name)
            for name in ("updates", "iterations")
        )
        self.variables = [*self._averages, self._updates, self._seen]
        self._update = self._make_update()

    def on_train_begin(self, logs=None):
        if self.is_in_place and not self._is_intact():
            self.forget()
        if not _array(self._updates):
            # The model may have been loaded since this object was made.
            self.swap_out()
            for average, weight in zip(self._averages, self._weights):
                average.assign(_array(weight))
            self._seen.assign(_array(self.model.optimizer.iterations))

    def on_epoch_begin(self, epoch, logs=None):
        self.swap_out()

    def on_train_batch_end(self, batch, logs=None):
        # `self.model` also gives the variables their values on JAX.
        iterations = _value(self.model.optimizer.iterations)
        self._update(ops.cast(iterations, "int32"))

    def on_test_begin(self, logs=None):
        self.swap_in()

    def on_epoch_end(self, epoch, logs=None):
        self.swap_in()

    def swap_in(self):
        """Puts the average in the place of the weights, if it is not there."""
        if not self.is_in_place:
            self._trained = [_array(weight) for weight in self._weights]
            for weight, average in zip(self._weights, self._averages):
                weight.assign(_array(average))
            self.is_in_place = True

    def swap_out(self):
        """Gives the weights of the training back, if the average is there."""
        if self.is_in_place:
            for weight, value in zip(self._weights, self._trained):
                weight.assign(value)
            self.forget()

    def forget(self):
        """Takes what the model holds for the weights of the training."""
        self.is_in_place = False
        self._trained = None

    @contextlib.contextmanager
    def swapped_out(self):
        """In the context, the model holds the weights of the training."""
        was_in_place = self.is_in_place
        self.swap_out()
        try:
            yield
        finally:
            if was_in_place:
                self.swap_in()

    def _make_update(self):
        """Compiles what runs after every step, where the backend can."""
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            return tf.function(self._assign)
        if keras.backend.backend() == "jax":
            import jax

            self._blend = jax.jit(self._blend)
        return self._assign

    def _is_intact(self):
        """Whether the model still holds the average, and nothing else."""
        return all(
            np.array_equal(_array(weight), _array(average, weight.dtype))
            for weight, average in zip(self._weights, self._averages)
        )

    def _assign(self, iterations):
        """Averages the weights if there was an update since the last call."""
        values = self._blend(
            [_value(weight) for weight in self._weights],
            [_value(average) for average in self._averages],
            _value(self._updates),
            _value(self._seen),
            iterations,
        )
        for variable, value in zip(self.variables, values):
            variable.assign(value)

    def _blend(self, weights, averages, updates, seen, iterations):
        """Returns the next values of `variables`."""
        is_due = ops.not_equal(iterations, seen)
        count = ops.cast(updates, "float32")
        decay = ops.minimum(self.decay, (1 + count) / (10 + count))
        share = ops.where(is_due, 1 - decay, 0.0)
        averages = [
            # In this form the average of a constant is this constant.
            a + ops.cast(share, a.dtype) * (ops.cast(w, a.dtype) - a)
            for w, a in zip(weights, averages)
        ]
        # Not `iterations` itself, whose memory JAX gives to the next step.
        return [
            *averages,
            updates + ops.cast(is_due, "int32"),
            ops.where(is_due, iterations, seen),
        ]


def _make_average(weight):
    """A variable for the average, of more digits than a half float has."""
    dtype = keras.backend.standardize_dtype(weight.dtype)
    return keras.Variable(
        _array(weight),
        dtype="float32" if dtype in ("float16", "bfloat16") else dtype,
        trainable=False,
        name="average",
    )


def _value(variable):
    """A variable's value, which PyTorch does not follow for gradients."""
    return ops.stop_gradient(ops.convert_to_tensor(variable))


def _array(variable, dtype=None):
    """A copy of a variable's value, which shares no memory with it."""
    value = ops.convert_to_tensor(variable)
    value = value if dtype is None else ops.cast(value, dtype)
    return np.copy(ops.convert_to_numpy(value))
