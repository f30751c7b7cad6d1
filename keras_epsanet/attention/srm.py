"""Style-based recalibration."""

import keras
from keras import ops

from keras_epsanet.attention.image_layer import ImageLayer
from keras_epsanet.layers.batch_normalization import BatchNormalization


@keras.saving.register_keras_serializable(package="keras_epsanet")
class SRM(ImageLayer):
    """Style-based recalibration: a weight for every channel from its style.

    `y = x * sigmoid(BN(w1 * mean(x) + w2 * std(x)))` over the pixels, each
    channel for itself. The variance is the unbiased one plus 1e-5; `w1` and
    `w2` start at 0, so that all weights start at 0.5.

    In a ResNet it stands behind the last BatchNorm of every block, before
    the shortcut is added. It has `4 * C` parameters, half of them of its
    BatchNorm, and `2 * C` multiply-adds. The published recipe decays none of
    the four vectors.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        The same.

    Raises:
        ValueError: If the number of channels is not known.

    Example:

    >>> y = SRM()(keras.ops.ones((2, 8, 8, 32)))
    >>> float(y[0, 0, 0, 0])
    0.5

    Reference: [SRM](https://arxiv.org/abs/1903.10829), section 3.
    """

    has_kernels = False

    def __init__(self, data_format=None, **kwargs):
        super().__init__(data_format=data_format, **kwargs)
        self.norm = self.make_sublayer(BatchNormalization, "norm")

    def build(self, input_shape):
        channels = self.channels_of(input_shape)
        self.style_weight = self.add_weight(
            name="style_weight", shape=(channels, 2), initializer="zeros"
        )
        self.norm.build((None, channels))

    def call(self, inputs, training=None):
        deviation = ops.sqrt(self.unbiased_variance(inputs) + 1e-5)
        styles = ops.stack([self.mean(inputs), deviation], axis=-1)
        styles = ops.sum(styles * self.style_weight, axis=-1)
        weights = ops.sigmoid(self.norm(styles, training=training))
        return inputs * self.spread(weights)

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        channels = self.channels_of(input_shape)
        return {"macs": 2 * channels, "normalized": channels}
