"""The gate of two statistics, of CBAM and of triplet attention."""

import math

import keras
from keras import ops

from keras_epsanet.integers import check_positive
from keras_epsanet.layers.batch_normalization import BatchNormalization
from keras_epsanet.layers.composite import CompositeLayer
from keras_epsanet.layers.grouped_conv2d import GroupedConv2D
from keras_epsanet.ops.largest import largest_over


@keras.saving.register_keras_serializable(package="keras_epsanet")
class PlaneGate(CompositeLayer):
    """`sigmoid(BN(conv([max, mean])))` over a plane.

    Args:
        kernel_size: Odd positive integer.
        zero_gamma: Whether the scale of the BatchNorm starts at 0, so that
            the gate starts at 0.5.
        **kwargs: Arguments of `CompositeLayer`.

    Input shape:
        `(N, A, B, 2)`: the maximum and the mean over the axis that is no
        part of the plane.

    Output shape:
        `(N, A, B)`.

    Raises:
        ValueError: If `kernel_size` is even or not positive.
    """

    def __init__(self, kernel_size=7, zero_gamma=False, **kwargs):
        super().__init__(**kwargs)
        kernel_size = check_positive(kernel_size=kernel_size)
        self.kernel_size = kernel_size
        self.zero_gamma = zero_gamma
        self.conv = self.make_sublayer(
            GroupedConv2D,
            "conv",
            filters=1,
            kernel_size=kernel_size,
            data_format="channels_last",
            **self.kernel_arguments(0),
        )
        self.norm = self.make_sublayer(
            BatchNormalization,
            "norm",
            momentum=0.99,
            gamma_initializer="zeros" if zero_gamma else "ones",
        )

    def build(self, input_shape):
        self.conv.build((None, None, None, 2))
        self.norm.build((None, None, None, 1))

    def call(self, inputs, training=None):
        logits = self.norm(self.conv(inputs), training=training)
        return ops.sigmoid(logits[..., 0])

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[:-1])

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known sizes.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        elements = math.prod(input_shape[1:3])
        return {
            "macs": 2 * self.kernel_size**2 * elements,
            "normalized": elements,
        }

    def get_config(self):
        config = super().get_config()
        config.update(kernel_size=self.kernel_size, zero_gamma=self.zero_gamma)
        return config


def max_and_mean(inputs, axis):
    """Returns both over an axis, side by side in a new last axis."""
    pair = (largest_over(inputs, axis), ops.mean(inputs, axis=axis))
    return ops.stack(pair, axis=-1)
