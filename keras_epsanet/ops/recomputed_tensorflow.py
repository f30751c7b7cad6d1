"""What is done to images before a convolution, and again for its gradient.

So the images alone are kept from one to the other, not their copies.
"""

import tensorflow as tf
from keras import ops


class Recomputed:
    """A linear function of images, computed twice, in little time."""

    def apply(self, inputs):
        raise NotImplementedError

    def apply_again(self, inputs, upstream):
        """As `apply`, when the gradient of the outputs is known."""
        # Without this order TensorFlow would merge the two copies into one.
        with tf.control_dependencies([upstream]):
            return self.apply(inputs)

    def adjoint(self, upstream, inputs):
        """The gradient of the inputs."""
        raise NotImplementedError


class Padding(Recomputed):
    """Zeros around the pixels.

    Args:
        pads: Two pairs: rows above and below, columns to the left and right.
            Integers, or tensors where sizes are unknown.
    """

    def __init__(self, pads):
        self.pads = pads
        numbers = [n for pad in pads for n in pad]
        self.is_static = all(isinstance(n, int) for n in numbers)
        self.is_nothing = self.is_static and not any(numbers)

    def apply(self, inputs):
        if self.is_nothing:
            return inputs
        padded = tf.pad(inputs, [(0, 0), *self.pads, (0, 0)])
        if self.is_static:
            return padded
        # Exported graphs forget the channels where paddings are computed.
        return tf.reshape(padded, (*ops.shape(padded)[:3], inputs.shape[-1]))

    def adjoint(self, upstream, inputs):
        if self.is_nothing:
            return upstream
        begin = (0, *(before for before, _ in self.pads), 0)
        return tf.slice(upstream, begin, tf.shape(inputs))


class Picking(Recomputed):
    """The pixels that a strided 1×1 convolution sees.

    A mean of one pixel picks them: a slice takes longer than the convolution
    behind it. (And a mean lets NaN pass, where oneDNN's maximum hides it.)

    Args:
        strides: Pair of integers, in pixels.
    """

    def __init__(self, strides):
        self.strides = strides

    def apply(self, inputs):
        return tf.nn.avg_pool2d(inputs, 1, self.strides, "VALID")

    def adjoint(self, upstream, inputs):
        return tf.raw_ops.AvgPoolGrad(
            orig_input_shape=tf.shape(inputs),
            grad=upstream,
            ksize=[1, 1, 1, 1],
            strides=[1, *self.strides, 1],
            padding="VALID",
        )
