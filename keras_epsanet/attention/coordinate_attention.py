"""Coordinate attention."""

import keras
from keras import ops

from keras_epsanet.attention.dense import make_dense
from keras_epsanet.attention.image_layer import ImageLayer
from keras_epsanet.integers import check_positive
from keras_epsanet.layers.batch_normalization import BatchNormalization


@keras.saving.register_keras_serializable(package="keras_epsanet")
class CoordinateAttention(ImageLayer):
    """Coordinate attention: a gate for each row and one for each column.

    The means of all rows, `(H, C)`, and of all columns, `(W, C)`, go through
    the same 1×1 convolution to `m = max(8, C / reduction)` channels, a
    BatchNorm and `hswish(t) = t * relu6(t + 3) / 6`. With `r` and `c` of
    them, `y = x * sigmoid(Wr r) * sigmoid(Wc c)`. All convolutions have a
    bias.

    The published networks have it within their inverted residual blocks,
    before the last 1×1 convolution; in a ResNet it stands behind the last
    BatchNorm of every block. It has `3 * C * m + 3 * m + 2 * C` parameters
    and `2 * (H + W) * C * m` multiply-adds.

    Args:
        reduction: Integer, factor by which the channels are narrowed, but
            not to less than 8.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        **kwargs: `kernel_initializer` (`None` is PyTorch's uniform one),
            `kernel_regularizer` and `kernel_constraint` of the three
            kernels, and the arguments of `keras.layers.Layer`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        The same.

    Raises:
        ValueError: If `reduction` is not positive.

    Example:

    >>> x = keras.random.normal((2, 8, 8, 32))
    >>> CoordinateAttention(reduction=4)(x).shape == x.shape
    True

    Reference: [Coordinate Attention](https://arxiv.org/abs/2103.02907),
    section 3.
    """

    def __init__(self, reduction=32, data_format=None, **kwargs):
        super().__init__(data_format=data_format, **kwargs)
        self.reduction = check_positive(reduction=reduction)

    def build(self, input_shape):
        channels = self.channels_of(input_shape)
        hidden = max(8, channels // self.reduction)
        self.fc = make_dense(self, "fc", 0, channels, hidden)
        self.norm = self.make_sublayer(BatchNormalization, "norm")
        self.norm.build((None, None, hidden))
        self.fc_rows = make_dense(self, "fc_rows", 1, hidden, channels)
        self.fc_columns = make_dense(self, "fc_columns", 2, hidden, channels)

    def call(self, inputs, training=None):
        vertical, horizontal = self.pixel_axes
        rows = ops.mean(inputs, axis=horizontal)
        columns = ops.mean(inputs, axis=vertical)
        if not self.is_last:
            rows, columns = (ops.swapaxes(x, 1, 2) for x in (rows, columns))
        features = ops.concatenate([rows, columns], axis=1)
        features = self.norm(self.fc(features), training=training)
        features = features * ops.relu6(features + 3) / 6
        height = ops.shape(rows)[1]
        rows = ops.sigmoid(self.fc_rows(features[:, :height]))
        columns = ops.sigmoid(self.fc_columns(features[:, height:]))
        if not self.is_last:
            rows, columns = (ops.swapaxes(x, 1, 2) for x in (rows, columns))
        rows = ops.expand_dims(rows, horizontal)
        return inputs * rows * ops.expand_dims(columns, vertical)

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        channels, hidden = self.channels_of(input_shape), self.fc.units
        lines = sum(input_shape[axis] for axis in self.pixel_axes)
        return {
            "macs": 2 * lines * channels * hidden,
            "biases": lines * (hidden + channels),
            "normalized": lines * hidden,
            "relus": lines * hidden,
            "pooled": 2 * self.pixels_of(input_shape) * channels,
        }

    def get_config(self):
        return {**super().get_config(), "reduction": self.reduction}
