"""Batch normalisation with the settings of the published implementation."""

import keras


@keras.saving.register_keras_serializable(package="keras_epsanet")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalisation that can keep its moving statistics.

    Detectors are trained in small batches, whose statistics are too noisy.
    They normalise with the moving statistics of the classifier while scale
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
        training = False if self.norm_eval else training
        return super().call(inputs, training=training, mask=mask)

    def get_config(self):
        return {**super().get_config(), "norm_eval": self.norm_eval}
