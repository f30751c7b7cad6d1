"""What an optimizer does with gradients before its step, on any devices."""

import keras
from keras import ops

from keras_epsanet.distribution.replicas import (
    assign_on_replicas,
    sum_over_replicas,
)


class WholeBatch:
    """What an optimizer inherits from to clip the gradient of a whole batch.

    Keras' optimizers clip on each replica by itself, the gradient of its part
    of the batch, and sum afterwards: on other numbers of devices the steps
    are others. Here gradients are summed first, then accumulated, then
    clipped.

    It comes first among the base classes. The optimizer has a method
    `stepped(grads, variables)`, which returns pairs of its variables and the
    weights, and their values after the step, and assigns nothing.

    Raises:
        ValueError: If Keras' own average of the weights is asked for.
    """

    @property
    def use_ema(self):
        """`False`: the steps do not update Keras' average of the weights."""
        return False

    @use_ema.setter
    def use_ema(self, value):
        # Keras' optimizers set it, whether it is given by name or not.
        if value:
            raise ValueError(
                "`use_ema` leaves out BatchNorms' statistics: use "
                f"`WeightAverage`. Received: use_ema={value}"
            )

    def _backend_apply_gradients(self, grads, trainable_variables):
        """One way for all backends and strategies.

        Keras' own chooses between accumulation and update with `cond`, in
        which replicas cannot meet. Here both are computed, and `where`
        chooses, which costs a few passes over the weights.
        """
        grads = [
            ops.cast(gradient, variable.dtype)
            for gradient, variable in zip(
                sum_over_replicas(grads), trainable_variables
            )
        ]
        steps = self.gradient_accumulation_steps
        if steps:
            accumulators = [
                self._accumulated_gradients[self._get_variable_index(v)]
                for v in trainable_variables
            ]
            sums = [g + value_of(a) for g, a in zip(grads, accumulators)]
            grads = [total / steps for total in sums]
        grads = self._clip_gradients(grads)
        updates = self.stepped(grads, trainable_variables)
        if steps:
            due = ops.equal((self._iterations + 1) % steps, 0)
            updates = [
                (variable, ops.where(due, value, value_of(variable)))
                for variable, value in updates
            ] + [
                (accumulator, ops.where(due, ops.zeros_like(total), total))
                for accumulator, total in zip(accumulators, sums)
            ]
        assign_on_replicas(updates)

    def _clip_gradients(self, grads):
        if self.global_clipnorm is None:
            return super()._clip_gradients(grads)
        dtypes = {keras.backend.standardize_dtype(g.dtype) for g in grads}
        dtype = "float64" if "float64" in dtypes else "float32"
        norm = ops.sqrt(
            sum(ops.sum(ops.square(ops.cast(g, dtype))) for g in grads)
        )
        # PyTorch adds the millionth to avoid a division by 0.
        factor = ops.clip(self.global_clipnorm / (norm + 1e-6), 0, 1)
        return [g * ops.cast(factor, g.dtype) for g in grads]


def value_of(variable):
    """A variable's value, which PyTorch does not follow for gradients."""
    return ops.stop_gradient(ops.convert_to_tensor(variable))
