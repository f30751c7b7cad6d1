"""SimAM, attention without parameters."""

import numbers

import keras
from keras import ops

from keras_epsanet.attention.image_layer import ImageLayer


@keras.saving.register_keras_serializable(package="keras_epsanet")
class SimAM(ImageLayer):
    """SimAM: what differs from the rest of its channel weighs more.

    `y = x * sigmoid((x - mean)**2 / (4 * (v + regularization)) + 0.5)`, with
    the mean and the unbiased variance v of every channel over the pixels: the
    closed form of an energy that tells one neuron from the others.

    In a ResNet the published code puts it between the 3×3 convolution of
    every block and the BatchNorm behind it. It has no parameters and no
    multiply-adds of a convolution.

    Args:
        regularization: Positive float, the λ of the paper.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        The same.

    Raises:
        ValueError: If `regularization` is not positive.

    Example:

    >>> layer = SimAM()
    >>> y = layer(keras.ops.ones((2, 8, 8, 32)))
    >>> round(float(y[0, 0, 0, 0]), 3), layer.count_params()
    (0.622, 0)

    Reference: [SimAM](https://proceedings.mlr.press/v139/yang21o.html),
    section 3.3.
    """

    has_kernels = False

    def __init__(self, regularization=1e-4, data_format=None, **kwargs):
        super().__init__(data_format=data_format, **kwargs)
        if not isinstance(regularization, numbers.Real) or (
            not regularization > 0
        ):
            raise ValueError(
                "`regularization` must be a positive number. "
                f"Received: regularization={regularization!r}"
            )
        self.regularization = regularization

    def build(self, input_shape):
        self.channels_of(input_shape)

    def call(self, inputs):
        centered = inputs - self.spread(self.mean(inputs))
        if self.compute_dtype == "float16":
            # Squared last: the square of a large deviation is infinite there.
            variance = self.unbiased_variance(inputs)
            factor = 0.5 * ops.rsqrt(variance + self.regularization)
            energy = ops.square(centered * self.spread(factor))
        else:
            squares = ops.square(centered)
            variance = self.unbiased(self.mean(squares), inputs)
            factor = 0.25 / (variance + self.regularization)
            energy = squares * self.spread(factor)
        return inputs * ops.sigmoid(energy + 0.5)

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input.

        Returns:
            An empty dictionary: no operation of the kinds that are counted.
        """
        return {}

    def get_config(self):
        return {**super().get_config(), "regularization": self.regularization}
