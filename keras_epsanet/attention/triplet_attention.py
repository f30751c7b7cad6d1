"""Triplet attention."""

import collections

import keras
from keras import ops

from keras_epsanet.attention.image_layer import ImageLayer
from keras_epsanet.attention.plane_gate import PlaneGate, max_and_mean


@keras.saving.register_keras_serializable(package="keras_epsanet")
class TripletAttention(ImageLayer):
    """Triplet attention: a gate for each pair of height, width and channels.

    `y = x * (g(C, W) + g(H, C) + g(H, W)) / 3`, where the gate of a plane is
    `sigmoid(BN(conv([max(x), mean(x)])))` with the maximum and the mean over
    the third axis. The first axis of a kernel is the first one named. As in
    the published training, the scale of the BatchNorm of `g(H, W)` starts at
    0 and those of the others at 1.

    In a ResNet it stands behind the last BatchNorm of every block, before
    the shortcut is added. With k = `kernel_size` it has `6 * k**2 + 6`
    parameters and `2 * k**2 * (H * W + C * W + H * C)` multiply-adds.

    Args:
        kernel_size: Odd positive integer, of all three convolutions.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        **kwargs: `kernel_initializer` (`None` is the one of
            `GroupedConv2D`), `kernel_regularizer` and `kernel_constraint` of
            the three kernels, and the arguments of `keras.layers.Layer`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        The same.

    Raises:
        ValueError: If `kernel_size` is even or not positive.

    Example:

    >>> x = keras.random.normal((2, 8, 8, 32))
    >>> TripletAttention()(x).shape == x.shape
    True

    Reference: [Rotate to Attend](https://arxiv.org/abs/2010.03045),
    section 3.
    """

    def __init__(self, kernel_size=7, data_format=None, **kwargs):
        super().__init__(data_format=data_format, **kwargs)
        gates = []
        for part, name in enumerate(("cw", "hc", "hw")):
            gate = self.make_sublayer(
                PlaneGate,
                f"gate_{name}",
                kernel_size=kernel_size,
                zero_gamma=name == "hw",
                **self.kernel_arguments(part),
            )
            gates.append(gate)
        self.gate_cw, self.gate_hc, self.gate_hw = gates
        self.kernel_size = self.gate_cw.kernel_size

    def build(self, input_shape):
        self.channels_of(input_shape)
        for gate in (self.gate_cw, self.gate_hc, self.gate_hw):
            gate.build((None, None, None, 2))

    def call(self, inputs, training=None):
        height, width = self.pixel_axes
        gates = 0
        for gate, axis, is_turned in (
            (self.gate_cw, height, self.is_last),
            (self.gate_hc, width, not self.is_last),
            (self.gate_hw, self.channel_axis, False),
        ):
            plane = max_and_mean(inputs, axis)
            # The convolutions want the axes in one order, the images have
            # them in another.
            if is_turned:
                plane = ops.swapaxes(plane, 1, 2)
            plane = gate(plane, training=training)
            if is_turned:
                plane = ops.swapaxes(plane, 1, 2)
            gates = gates + ops.expand_dims(plane, axis)
        return inputs * (gates / 3)

    def count_operations(self, input_shape):
        """Returns the operations of one call, for `keras_epsanet.complexity`.

        Args:
            input_shape: Shape of the input, with known height and width.

        Returns:
            A dictionary of numbers of operations for one image.
        """
        channels = self.channels_of(input_shape)
        height, width = (input_shape[axis] for axis in self.pixel_axes)
        counts = collections.Counter()
        for gate, plane in (
            (self.gate_cw, (channels, width)),
            (self.gate_hc, (height, channels)),
            (self.gate_hw, (height, width)),
        ):
            counts.update(gate.count_operations((None, *plane, 2)))
        return dict(counts)

    def get_config(self):
        return {**super().get_config(), "kernel_size": self.kernel_size}
