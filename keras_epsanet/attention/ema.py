"""Efficient multi-scale attention."""

import keras
from keras import ops

from keras_epsanet.attention.dense import fan_in_uniform, make_dense
from keras_epsanet.attention.image_layer import (
    ImageLayer,
    check_divides,
)
from keras_epsanet.integers import check_positive
from keras_epsanet.layers.grouped_conv2d import GroupedConv2D
from keras_epsanet.ops.grouped_conv import grouped_convolution


@keras.saving.register_keras_serializable(package="keras_epsanet")
class EMA(ImageLayer):
    """Efficient multi-scale attention: two paths weigh each other's pixels.

    Every group of `q = C / groups` channels, g, is treated alike, by the
    same weights:

    - `a = IN(g * sigmoid(V rows(g)) * sigmoid(V columns(g)))`, with the
      means of the rows and columns, one 1×1 convolution V for both and an
      instance normalization;
    - `b = conv3x3(g)`;
    - `y = g * sigmoid(softmax(mean(a)) · b + softmax(mean(b)) · a)`, with
      means over the pixels, the softmax and the product `·` over the
      channels of the group, so that each pixel has one number.

    In a ResNet it stands behind the last BatchNorm of every block, before
    the shortcut is added. It has `10 * q**2 + 4 * q` parameters,
    `(9 * H * W + H + W) * C * q` multiply-adds and `2 * C * H * W` products
    of activations.

    Args:
        groups: Integer that divides the number of channels.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        **kwargs: `kernel_initializer` (`None` is PyTorch's uniform one),
            `kernel_regularizer` and `kernel_constraint` of both kernels, and
            the arguments of `keras.layers.Layer`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        The same.

    Raises:
        ValueError: If `groups` is not positive or does not divide the
            number of channels.

    Example:

    >>> x = keras.random.normal((2, 8, 8, 32))
    >>> EMA(groups=4)(x).shape == x.shape
    True

    Reference: [EMA](https://arxiv.org/abs/2305.13563), section 3.
    """

    def __init__(self, groups=32, data_format=None, **kwargs):
        super().__init__(data_format=data_format, **kwargs)
        self.groups = check_positive(groups=groups)

    def build(self, input_shape):
        channels = self.channels_of(input_shape)
        check_divides("groups", self.groups, channels)
        width = channels // self.groups
        self.fc = make_dense(self, "fc", 0, width, width)
        bound = (9 * width) ** -0.5
        # Its weights are those of one group.
        self.conv = self.make_sublayer(
            GroupedConv2D,
            "conv",
            filters=width,
            kernel_size=3,
            use_bias=True,
            data_format="channels_last",
            bias_initializer=keras.initializers.RandomUniform(-bound, bound),
            **self.kernel_arguments(1, default=fan_in_uniform()),
        )
        self.conv.build((None, None, None, width))
        for name, initializer in (("gamma", "ones"), ("beta", "zeros")):
            weight = self.add_weight(
                name=name, shape=(width,), initializer=initializer
            )
            setattr(self, name, weight)

    def call(self, inputs):
        first = self._normalize(inputs * self._gate_lines(inputs))
        second = self._convolve(inputs)
        logits = self._sum_groups(
            self._share(second) * first + self._share(first) * second
        )
        repeats = inputs.shape[self.channel_axis] // self.groups
        gates = ops.repeat(ops.sigmoid(logits), repeats, self.channel_axis)
        return inputs * gates

    def _gate_lines(self, inputs):
        """Returns the product of the gates of the row and of the column."""
        vertical, horizontal = self.pixel_axes
        gates = []
        for pooled in (horizontal, vertical):
            lines = ops.mean(inputs, axis=pooled)
            if not self.is_last:
                lines = ops.swapaxes(lines, 1, 2)
            groups = ops.reshape(lines, (-1, self.fc.units))
            lines = ops.reshape(self.fc(groups), ops.shape(lines))
            if not self.is_last:
                lines = ops.swapaxes(lines, 1, 2)
            gates.append(ops.expand_dims(ops.sigmoid(lines), pooled))
        return gates[0] * gates[1]

    def _normalize(self, inputs):
        gamma, beta = (self._to_groups(x) for x in (self.gamma, self.beta))
        scale = gamma * ops.rsqrt(self.variance(inputs) + 1e-5)
        centered = inputs - self.spread(self.mean(inputs))
        return centered * self.spread(scale) + self.spread(beta[None])

    def _to_groups(self, values):
        return ops.tile(ops.convert_to_tensor(values), self.groups)

    def _convolve(self, inputs):
        kernel = ops.convert_to_tensor(self.conv.kernel)
        outputs = grouped_convolution(
            inputs,
            ops.tile(kernel, (1, 1, 1, self.groups)),
            (1, 1),
            self.groups,
            self.data_format,
        )
        # As in `GroupedConv2D`: TensorFlow would merge an addition into a
        # grouped convolution, which fails without oneDNN.
        return outputs - self.spread(-self._to_groups(self.conv.bias)[None])

    def _share(self, features):
        """Returns what the channels of a group weigh, 1 in sum."""
        means = self.mean(features)
        width = self.fc.units
        if width == 1:  # Of a softmax of one number Keras warns.
            return ops.ones_like(self.spread(means))
        groups = ops.reshape(means, (-1, self.groups, width))
        shares = ops.softmax(groups, axis=-1)
        return self.spread(ops.reshape(shares, ops.shape(means)))

    def _sum_groups(self, inputs):
        shape, axis = ops.shape(inputs), self.channel_axis
        groups = (self.groups, self.fc.units)
        groups = (*shape[:axis], *groups, *shape[axis + 1 :])
        return ops.sum(ops.reshape(inputs, groups), axis=axis + 1)

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        channels, width = self.channels_of(input_shape), self.fc.units
        pixels = self.pixels_of(input_shape)
        lines = sum(input_shape[axis] for axis in self.pixel_axes)
        return {
            "macs": (9 * pixels + lines) * channels * width,
            "biases": (pixels + lines) * channels,
            "normalized": pixels * channels,
            "pooled": 4 * pixels * channels,
            "products": 2 * pixels * channels,
        }

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}
