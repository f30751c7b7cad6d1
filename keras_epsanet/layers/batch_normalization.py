"""Batch normalization with the settings of the published implementation."""

import keras


@keras.saving.register_keras_serializable(package="keras_epsanet")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalization, fused, that can keep its moving statistics.

    In training on TensorFlow, images with the channels last are normalized by
    one kernel forward and one backward, where Keras' layer makes several
    passes over them. In inference Keras' products and sums are as fast, and
    for single images ten times faster: merged into a convolution of oneDNN,
    the kernel takes a slow path there.

    Detectors are trained in small batches, whose statistics are too noisy.
    They normalize with the moving statistics of the classifier while scale
    and shift still learn; Keras' `trainable=False` would freeze all four.

    Args:
        axis: Integer, the channel axis.
        momentum: Float, of the moving statistics; 0.9 is PyTorch's 0.1.
        epsilon: Float, added to the variance.
        norm_eval: Whether the moving statistics are used, and left as they
            are, in training too.
        **kwargs: Arguments of `keras.layers.BatchNormalization`.

    Input shape:
        `(N, H, W, C)` or any other with the channels at `axis`.

    Output shape:
        The same.

    Example:

    >>> layer = BatchNormalization(norm_eval=True)
    >>> x = keras.ops.ones((2, 4, 4, 8))
    >>> float(layer(x, training=True)[0, 0, 0, 0]) > 0.99
    True
    """

    def __init__(
        self, axis=-1, momentum=0.9, epsilon=1e-5, norm_eval=False, **kwargs
    ):
        super().__init__(
            axis=axis, momentum=momentum, epsilon=epsilon, **kwargs
        )
        self.norm_eval = norm_eval

    def call(self, inputs, training=None, mask=None):
        learns = bool(training and self.trainable and not self.norm_eval)
        if mask is None and self._can_be_fused(inputs, training):
            fused = {
                "tensorflow": self._call_tensorflow,
                "torch": self._call_torch,
            }[keras.backend.backend()]
            return fused(inputs, learns)
        return super().call(inputs, training=learns, mask=mask)

    def _can_be_fused(self, inputs, training):
        rank = len(inputs.shape)
        if rank not in (2, 4) or self.synchronized or self.renorm:
            return False
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        if keras.backend.backend() == "tensorflow":
            return (
                bool(training)
                and rank == 4
                and self.axis in (-1, 3)
                and dtype != "float64"
                and self.variable_dtype == "float32"
            )
        return (
            keras.backend.backend() == "torch"
            and self.axis in ((-1, 1, 3) if rank == 4 else (-1, 1))
            and dtype == self.variable_dtype
        )

    def _call_tensorflow(self, inputs, training):
        import tensorflow as tf

        ones = tf.ones_like(self.moving_mean)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma if self.scale else ones,
            offset=self.beta if self.center else tf.zeros_like(ones),
            mean=self.moving_mean,
            variance=self.moving_variance,
            epsilon=self.epsilon,
            is_training=training,
        )
        if training:
            # The kernel gives the unbiased variance; Keras keeps the other.
            count = tf.cast(tf.size(inputs) // inputs.shape[-1], "float32")
            self._update_statistics(mean, variance * (count - 1) / count)
        return tf.cast(outputs, self.compute_dtype)

    def _call_torch(self, inputs, training):
        import torch

        is_turned = self.axis != 1 and len(inputs.shape) == 4
        if is_turned:
            # A view: PyTorch's own channels-last layout.
            inputs = inputs.permute(0, 3, 1, 2)
        gamma = self.gamma.value if self.scale else None
        beta = self.beta.value if self.center else None
        if training:
            outputs, mean, inverse = torch.native_batch_norm(
                inputs, gamma, beta, None, None, True, 0.0, self.epsilon
            )
            self._update_statistics(mean, inverse**-2 - self.epsilon)
        else:  # The operation above cannot be exported to ONNX.
            outputs = torch.nn.functional.batch_norm(
                inputs,
                self.moving_mean.value,
                self.moving_variance.value,
                gamma,
                beta,
                eps=self.epsilon,
            )
        return outputs.permute(0, 2, 3, 1) if is_turned else outputs

    def _update_statistics(self, mean, variance):
        for moving, batch in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            moving.assign(moving * self.momentum + batch * (1 - self.momentum))

    def get_config(self):
        return {**super().get_config(), "norm_eval": self.norm_eval}
