"""The attention branch of ABN."""

import keras
from keras import ops

from keras_epsanet.attention.image_layer import ImageLayer
from keras_epsanet.integers import check_positive
from keras_epsanet.layers.batch_normalization import BatchNormalization
from keras_epsanet.layers.grouped_conv2d import GroupedConv2D


@keras.saving.register_keras_serializable(package="keras_epsanet")
class AttentionBranch(ImageLayer):
    """Attention branch: a class activation map is the attention.

    `t = relu(BN(W1 BN(x)))` with a 1×1 convolution to the classes; the map
    is `sigmoid(BN(conv3x3(t)))` with one channel, and the logits are the
    mean of `W2 t` over the pixels. There are no biases.

    In a ResNet x is what a copy of the fourth stage without strides makes of
    the third stage's output f. The fourth stage proper gets `f * map + f`,
    and the loss of the branch's logits is added to the network's. From C
    channels to K classes it has `2 * C + C * K + K**2 + 11 * K + 2`
    parameters and `H * W * (C * K + K**2 + 9 * K)` multiply-adds.

    Args:
        classes: Integer, number of classes.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        **kwargs: `kernel_initializer` (`None` is the one of
            `GroupedConv2D`), `kernel_regularizer` and `kernel_constraint` of
            the three kernels, and the arguments of `keras.layers.Layer`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        A pair: the map `(N, H, W, 1)`, channels-first `(N, 1, H, W)`, and
        the logits `(N, classes)`.

    Raises:
        ValueError: If `classes` is not positive.

    Example:

    >>> features = keras.random.normal((2, 8, 8, 32))
    >>> attention, logits = AttentionBranch(classes=10)(features)
    >>> attention.shape == (2, 8, 8, 1), logits.shape == (2, 10)
    (True, True)

    Reference: [Attention Branch Network](https://arxiv.org/abs/1812.10025),
    section 3.
    """

    def __init__(self, classes, data_format=None, **kwargs):
        super().__init__(data_format=data_format, **kwargs)
        self.classes = classes = check_positive(classes=classes)
        self.norm, self.norm_classes, self.norm_map = (
            self.make_sublayer(BatchNormalization, name, axis=self.channel_axis)
            for name in ("norm", "norm_classes", "norm_map")
        )
        self.class_conv = self.make_pointwise("class_conv", 0, classes)
        self.map_conv = self.make_sublayer(
            GroupedConv2D,
            "map_conv",
            filters=1,
            kernel_size=3,
            data_format=self.data_format,
            **self.kernel_arguments(1),
        )
        self.logit_conv = self.make_pointwise("logit_conv", 2, classes)

    def build(self, input_shape):
        self.channels_of(input_shape)
        self.norm.build(input_shape)
        self.class_conv.build(input_shape)
        shape = self.with_channels(input_shape, self.classes)
        for layer in (self.norm_classes, self.map_conv, self.logit_conv):
            layer.build(shape)
        self.norm_map.build(self.with_channels(input_shape, 1))

    def call(self, inputs, training=None):
        features = self.class_conv(self.norm(inputs, training=training))
        features = ops.relu(self.norm_classes(features, training=training))
        logits = self.norm_map(self.map_conv(features), training=training)
        return ops.sigmoid(logits), self.mean(self.logit_conv(features))

    def compute_output_shape(self, input_shape):
        return (
            self.with_channels(input_shape, 1),
            (input_shape[0], self.classes),
        )

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        channels, classes = self.channels_of(input_shape), self.classes
        pixels = self.pixels_of(input_shape)
        kernels = channels * classes + classes**2 + 9 * classes
        return {
            "macs": pixels * kernels,
            "normalized": pixels * (channels + classes + 1),
            "relus": pixels * classes,
            "pooled": pixels * classes,
        }

    def get_config(self):
        return {**super().get_config(), "classes": self.classes}
