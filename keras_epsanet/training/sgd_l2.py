"""SGD as PyTorch computes it: the L2 term goes through the momentum."""

import re
import warnings

import keras
from keras import ops

from keras_epsanet.training import recipe_fields as kinds
from keras_epsanet.training.recipe_fields import check
from keras_epsanet.training.scaled_rates import ScaledRates
from keras_epsanet.training.variable_paths import find_by_path, path_of
from keras_epsanet.training.whole_batch import WholeBatch, value_of

# Arguments of Keras' own average.
_AVERAGE = ("use_ema", "ema_momentum", "ema_overwrite_frequency")
_POSITIVE = kinds.optional(kinds.POSITIVE)
_PARTS = kinds.optional(kinds.POSITIVE_INTEGER)


@keras.saving.register_keras_serializable(package="keras_epsanet")
class SGDL2(WholeBatch, ScaledRates, keras.optimizers.SGD):
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
    weights and velocities, with the mean of the k gradients. As in Keras,
    `iterations` counts these changes, while a `LearningRateSchedule` is
    called with the number of batches, so that it needs no change. Replicas
    sum their gradients after every batch: what is saved between two changes
    is the same on all of them.

    Everything is part of a saved model: velocities, accumulated gradients
    and number of batches.

    Keras' average of the weights (`use_ema`) is refused, for it leaves out
    BatchNorms' statistics, which belong to the weights: see `WeightAverage`.

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
        **kwargs: Other arguments of `keras.optimizers.SGD`, but for
            `weight_decay` and `use_ema`.

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
        **kwargs,
    ):
        if isinstance(learning_rate, (int, float)):
            check("learning_rate", kinds.NOT_NEGATIVE, learning_rate)
        check("momentum", kinds.FRACTION, momentum)
        check("l2", kinds.NOT_NEGATIVE, l2)
        check("global_clipnorm", _POSITIVE, global_clipnorm)
        parts = gradient_accumulation_steps
        check("gradient_accumulation_steps", _PARTS, parts)
        if nesterov and not momentum:
            raise ValueError(
                "`nesterov` needs a momentum. Received: "
                f"nesterov={nesterov}, momentum={momentum}"
            )
        if isinstance(learning_rate, int):
            learning_rate = float(learning_rate)
        super().__init__(
            learning_rate=learning_rate,
            momentum=float(momentum),
            nesterov=nesterov,
            global_clipnorm=global_clipnorm,
            gradient_accumulation_steps=parts,
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
            var_names: List of regular expressions; a variable is left out
                if its name contains one of them, as `"bias"`, `"gamma"` and
                `"beta"` for biases and BatchNorms.

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
            "paths": tuple(map(path_of, var_list or ())),
            "names": tuple(var_names or ()),
        }

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Leaves the L2 term off some parameters: see `exclude_from_l2`."""
        self.exclude_from_l2(var_list, var_names)

    @property
    def weight_decay(self):
        """`None`: Keras' decay, which bypasses the momentum."""
        return None

    @weight_decay.setter
    def weight_decay(self, value):
        if value is not None:
            raise ValueError(
                "`weight_decay` of Keras bypasses the momentum: use `l2`. "
                f"Received: weight_decay={value}"
            )

    def build(self, variables):
        names = self._l2_exclusions["names"]
        excluded = {
            self._var_key(variable)
            for variable in variables
            if any(re.search(name, variable.name) for name in names)
        }
        for path in self._l2_exclusions["paths"]:
            found = find_by_path(path, variables)
            excluded.update(self._var_key(variable) for variable in found)
        self._keys_without_l2 = frozenset(excluded)
        super().build(variables)

    def stepped(self, grads, variables):
        """See `WholeBatch`."""
        updates = []
        for gradient, variable in zip(grads, variables):
            weight = value_of(variable)
            if self.l2 and self._var_key(variable) not in self._keys_without_l2:
                gradient = gradient + weight * self.l2
            if self.momentum:
                velocity = self.momentums[self._get_variable_index(variable)]
                new_velocity = value_of(velocity) * self.momentum + gradient
                updates.append((velocity, new_velocity))
                if self.nesterov:
                    gradient = gradient + new_velocity * self.momentum
                else:
                    gradient = new_velocity
            rate = self.rate_of(variable, self.learning_rate)
            rate = ops.cast(rate, weight.dtype)
            updates.append((variable, weight - rate * gradient))
        return updates

    def get_config(self):
        config = super().get_config()
        for name in ("weight_decay", *_AVERAGE):
            del config[name]
        config["l2"] = self.l2
        config["l2_exclusions"] = {
            key: list(values) for key, values in self._l2_exclusions.items()
        }
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        if config.get("use_ema"):
            warnings.warn(
                "The file is of version 0.1.0; the average of its weights "
                "stays there. Load it with version 0.1.0 to go on with that.",
                stacklevel=2,
            )
        for name in _AVERAGE:
            config.pop(name, None)
        exclusions = config.pop("l2_exclusions", {"paths": (), "names": ()})
        optimizer = super().from_config(config, custom_objects=custom_objects)
        optimizer._l2_exclusions = {
            key: tuple(values) for key, values in exclusions.items()
        }
        return optimizer
