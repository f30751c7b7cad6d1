"""Adam, the same on any number of devices."""

import keras
from keras import ops

from keras_epsanet.training.scaled_rates import ScaledRates
from keras_epsanet.training.whole_batch import WholeBatch, value_of


@keras.saving.register_keras_serializable(package="keras_epsanet")
class ScaledAdam(WholeBatch, ScaledRates, keras.optimizers.Adam):
    """`keras.optimizers.Adam` for batches that devices share.

    [Kingma and Ba, 2014](https://arxiv.org/abs/1412.6980), by Keras'
    formulas. `scale_rate` gives some variables learning rates of their own.
    With `global_clipnorm`, `clipnorm` or `clipvalue`, what is clipped is the
    gradient of the whole batch; Keras' own clips on each replica by itself.
    With `gradient_accumulation_steps` it trains on several devices too, and
    clips the mean.

    Args:
        *args, **kwargs: As of `keras.optimizers.Adam`, but for `use_ema`.

    Raises:
        ValueError: If `use_ema` is true, for which there is `WeightAverage`.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> optimizer = ScaledAdam(0.01, global_clipnorm=10.0)
    >>> optimizer.scale_rate([model.layers[0].kernel], 0.1)
    >>> model.compile(optimizer, "mse")
    """

    def stepped(self, grads, variables):
        """See `WholeBatch`."""
        updates = []
        for gradient, variable in zip(grads, variables):
            index = self._get_variable_index(variable)
            weight, dtype = value_of(variable), variable.dtype
            step = ops.cast(self.iterations + 1, dtype)
            rate = ops.cast(self.rate_of(variable, self.learning_rate), dtype)
            if self.weight_decay is not None and self._use_weight_decay(
                variable
            ):
                weight = weight - weight * self.weight_decay * rate
            mean, square = self._momentums[index], self._velocities[index]
            new_mean = _towards(value_of(mean), gradient, self.beta_1)
            new_square = _towards(
                value_of(square), ops.square(gradient), self.beta_2
            )
            updates += [(mean, new_mean), (square, new_square)]
            if self.amsgrad:
                most = self._velocity_hats[index]
                new_square = ops.maximum(value_of(most), new_square)
                updates.append((most, new_square))
            # Both averages start at 0, which their first values are freed of.
            first, second = (
                1 - ops.power(ops.cast(beta, dtype), step)
                for beta in (self.beta_1, self.beta_2)
            )
            rate = rate * ops.sqrt(second) / first
            change = rate * new_mean / (ops.sqrt(new_square) + self.epsilon)
            updates.append((variable, weight - change))
        return updates


def _towards(average, value, momentum):
    return average + (value - average) * (1 - momentum)
