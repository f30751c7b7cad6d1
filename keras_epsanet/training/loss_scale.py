"""Loss scaling for float16 that all replicas agree on."""

import keras

from keras_epsanet.distribution.replicas import true_on_all_replicas


@keras.saving.register_keras_serializable(package="keras_epsanet")
class LossScale(keras.optimizers.LossScaleOptimizer):
    """`keras.optimizers.LossScaleOptimizer` for any number of replicas.

    Keras' class looks for infinities and NaNs among the gradients of the
    first replica only: one in those of another gets into the weights, and
    several workers, of which some skip the step, wait for each other for
    ever. Here all replicas skip it if one has to.

    A step that is left out is none of the inner optimizer's `iterations`, so
    that its learning rate and an accumulation of gradients go on as if the
    batch had not been there. Once the scale has settled, it overflows at
    most once in `dynamic_growth_steps`, after it was doubled: by default the
    rate falls late by at most a 2000th part of the training.

    `compile` wraps an optimizer in Keras' class if the model's policy is
    `mixed_float16`, and leaves one that is wrapped already.

    Args:
        inner_optimizer: `keras.optimizers.Optimizer`, such as `SGDL2`, that
            gets the true gradients, without the scale.
        initial_scale: Float, factor of the loss at the start.
        dynamic_growth_steps: Integer, steps in a row without an infinity
            after which the factor is doubled.
        name: String or `None`.
        **kwargs: Arguments of `keras.optimizers.LossScaleOptimizer`.

    Example:

    >>> optimizer = LossScale(keras.optimizers.SGD(0.1))
    >>> float(optimizer.scale_loss(1.0))
    32768.0
    """

    def __init__(
        self,
        inner_optimizer,
        initial_scale=2.0**15,
        dynamic_growth_steps=2000,
        name=None,
        **kwargs,
    ):
        super().__init__(
            inner_optimizer,
            initial_scale=initial_scale,
            dynamic_growth_steps=dynamic_growth_steps,
            name=name,
            **kwargs,
        )

    def check_finite(self, grads):
        return true_on_all_replicas(super().check_finite(grads))

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """As of the inner optimizer, which alone has weights to decay."""
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)
