"""SGD as PyTorch computes it: the L2 term goes through the momentum."""

import math

import keras
from keras import ops

from keras_epsanet.training.replicas import (
    assign_on_replicas,
    sum_over_replicas,
)


@keras.saving.register_keras_serializable(package="keras_epsanet")
class SGDL2(keras.optimizers.SGD):
    """`torch.optim.SGD(weight_decay=l2)`, with which the paper was trained.

    One step with the gradient g of a parameter w:

        g = clip(mean over accumulated batches(sum over replicas(g)))
        g = g + l2 * w
        velocity = momentum * velocity + g
        w = w - learning_rate * velocity

    with `g + momentum * velocity` in place of `velocity` in the last line if
    `nesterov`. Keras' `weight_decay` bypasses the momentum, which makes it
    about 10 times as weak at momentum 0.9; its velocity contains the learning
    rate, so that a new rate takes some 10 steps to apply in full; and it
    clips on each replica by itself.

    With `gradient_accumulation_steps=k` only every k-th batch changes
    weights, velocities and their average (`use_ema`), with the mean of the k
    gradients. As in Keras, `iterations` counts these changes, while a
    `LearningRateSchedule` is called with the number of batches, so that it
    needs no change. Replicas sum their gradients after every batch: what is
    saved between two changes is the same on all of them.

    Everything is part of a saved model: velocities, accumulated gradients,
    average and number of batches.

    With `mixed_float16` on several devices, wrap it in `LossScale`.

    Args:
        learning_rate: Float, `LearningRateSchedule` or function without
            arguments.
        momentum: Float from 0 to below 1.
        nesterov: Whether the step looks ahead along the velocity.
        l2: Float, factor of the L2 term, of all parameters unless
            `exclude_from_l2` is called; PyTorch's `weight_decay`.
        global_clipnorm: Float or `None`, the most that the norm of all
            gradients together, before the L2 term, can be; as by PyTorch's
            `clip_grad_norm_`.
        gradient_accumulation_steps: Integer from 2, batches per step, or
            `None`.
        use_ema: Whether an average of the weights is kept, which replaces
            them at the end of `fit`.
        ema_momentum: Float, share of the average that each step keeps.
        ema_overwrite_frequency: Integer, steps after which the average
            replaces the weights during training too, or `None`.
        **kwargs: Other arguments of `keras.optimizers.SGD`, but for
            `weight_decay`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> optimizer = SGDL2(0.1, momentum=0.9, l2=0.5)
    >>> w = keras.Variable([1.0])
    >>> optimizer.apply([[0.0]], [w])
    >>> print(round(float(w[0]), 4))
    0.95
    """

    def __init__(
        self,
        learning_rate=0.1,
        momentum=0.9,
        nesterov=False,
        l2=1e-4,
        global_clipnorm=None,
        gradient_accumulation_steps=None,
        use_ema=False,
        ema_momentum=0.99,
        ema_overwrite_frequency=None,
        **kwargs,
    ):
        _check_arguments(
            learning_rate,
            momentum,
            nesterov,
            l2,
            global_clipnorm,
            gradient_accumulation_steps,
            kwargs.pop("weight_decay", None),
        )
        if isinstance(learning_rate, int):
            learning_rate = float(learning_rate)
        super().__init__(
            learning_rate=learning_rate,
            momentum=float(momentum),
            nesterov=nesterov,
            global_clipnorm=global_clipnorm,
            gradient_accumulation_steps=gradient_accumulation_steps,
            use_ema=use_ema,
            ema_momentum=ema_momentum,
            ema_overwrite_frequency=ema_overwrite_frequency,
            **kwargs,
        )
        self.l2 = l2
        self._l2_exclusions = {"paths": (), "names": ()}

    def exclude_from_l2(self, var_list=None, var_names=None):
        """Leaves the L2 term off some parameters.

        To be called before the optimizer is built, which `fit` does at its
        start. It replaces what was excluded before, and is saved.

        Args:
            var_list: List of variables to leave out. Once loaded, they are
                known by their paths, such as `"conv1_bn/gamma"`.
            var_names: List of strings; a variable is left out if one of them
                is part of its name, as `"bias"`, `"gamma"` and `"beta"` are
                for biases and BatchNorms.

        Raises:
            ValueError: If the optimizer is built already.
        """
        if self.built:
            raise ValueError(
                "What has no L2 term must be known before the optimizer is "
                "built, thus before `fit` or `build`. Received: "
                f"var_list={var_list}, var_names={var_names}"
            )
        self._l2_exclusions = {
            "paths": tuple(_path(variable) for variable in var_list or ()),
            "names": tuple(var_names or ()),
        }

    def build(self, variables):
        names = self._l2_exclusions["names"]
        excluded = {
            self._var_key(variable)
            for variable in variables
            if any(name in variable.name for name in names)
        }
        for path in self._l2_exclusions["paths"]:
            found = [v for v in variables if _path(v) == path] or [
                # Loading can leave out the name of the model around a layer.
                v
                for v in variables
                if f"/{path}".endswith(f"/{_path(v)}")
                or f"/{_path(v)}".endswith(f"/{path}")
            ]
            if len(found) > 1:
                raise ValueError(
                    "A variable without L2 term must be known by its path. "
                    f"Received: {len(found)} variables like {path}"
                )
            excluded.update(self._var_key(variable) for variable in found)
        self._keys_without_l2 = frozenset(excluded)
        super().build(variables)

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
            sums = [g + _value(a) for g, a in zip(grads, accumulators)]
            grads = [total / steps for total in sums]
        grads = self._clip_gradients(grads)
        updates = self._averaged(self._stepped(grads, trainable_variables))
        if steps:
            due = ops.equal((self._iterations + 1) % steps, 0)
            updates = [
                (variable, ops.where(due, value, _value(variable)))
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

    def _stepped(self, grads, variables):
        """Pairs of velocities and weights and their values after a step."""
        updates = []
        for gradient, variable in zip(grads, variables):
            weight = _value(variable)
            if self.l2 and self._var_key(variable) not in self._keys_without_l2:
                gradient = gradient + weight * self.l2
            if self.momentum:
                velocity = self.momentums[self._get_variable_index(variable)]
                new_velocity = _value(velocity) * self.momentum + gradient
                updates.append((velocity, new_velocity))
                if self.nesterov:
                    gradient = gradient + new_velocity * self.momentum
                else:
                    gradient = new_velocity
            rate = ops.cast(self.learning_rate, weight.dtype)
            updates.append((variable, weight - rate * gradient))
        return updates

    def _averaged(self, updates):
        """Adds the average of all weights to what is to be assigned."""
        if not self.use_ema:
            return updates
        new = {self._var_key(variable): value for variable, value in updates}
        averages = []
        for variable, average in zip(
            self._trainable_variables, self._model_variables_moving_average
        ):
            if average is None:
                continue
            weight = new.get(self._var_key(variable), _value(variable))
            # The average of the first step is its weights.
            share = self.ema_momentum * ops.cast(
                ops.not_equal(self.iterations, 0), weight.dtype
            )
            mean = _value(average) * share + weight * (1 - share)
            averages.append((average, mean))
            if self.ema_overwrite_frequency:
                overwrite = ops.equal(
                    (self.iterations + 1) % self.ema_overwrite_frequency, 0
                )
                averages.append((variable, ops.where(overwrite, mean, weight)))
        # Of two values for one variable the last one stays.
        return updates + averages

    def get_config(self):
        config = super().get_config()
        del config["weight_decay"]
        config["l2"] = self.l2
        config["l2_exclusions"] = {
            key: list(values) for key, values in self._l2_exclusions.items()
        }
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        exclusions = config.pop("l2_exclusions", {"paths": (), "names": ()})
        optimizer = super().from_config(config, custom_objects=custom_objects)
        optimizer._l2_exclusions = {
            key: tuple(values) for key, values in exclusions.items()
        }
        return optimizer


def _value(variable):
    """A variable's value, which PyTorch does not follow for gradients."""
    return ops.stop_gradient(ops.convert_to_tensor(variable))


def _path(variable):
    return getattr(variable, "path", variable.name)


def _check_arguments(
    learning_rate, momentum, nesterov, l2, clipnorm, steps, weight_decay
):
    def is_number(value):
        return (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and math.isfinite(value)
        )

    if isinstance(learning_rate, (int, float)) and not (
        is_number(learning_rate) and learning_rate >= 0
    ):
        raise ValueError(
            "`learning_rate` must not be negative. Received: "
            f"learning_rate={learning_rate}"
        )
    if not (is_number(momentum) and 0 <= momentum < 1):
        raise ValueError(
            "`momentum` must be a number from 0 to below 1. Received: "
            f"momentum={momentum}"
        )
    if nesterov and not momentum:
        raise ValueError(
            "`nesterov` needs a momentum. Received: "
            f"nesterov={nesterov}, momentum={momentum}"
        )
    if not (is_number(l2) and l2 >= 0):
        raise ValueError(f"`l2` must be a number from 0. Received: l2={l2}")
    if clipnorm is not None and not (is_number(clipnorm) and clipnorm > 0):
        raise ValueError(
            "`global_clipnorm` must be a positive number or None. Received: "
            f"global_clipnorm={clipnorm}"
        )
    if steps is not None and not (
        isinstance(steps, int) and not isinstance(steps, bool) and steps >= 2
    ):
        raise ValueError(
            "`gradient_accumulation_steps` must be an integer from 2 or None. "
            f"Received: gradient_accumulation_steps={steps}"
        )
    if weight_decay is not None:
        raise ValueError(
            "`weight_decay` of Keras bypasses the momentum: use `l2`. "
            f"Received: weight_decay={weight_decay}"
        )
