"""Grouped convolution with holes in its kernel."""

import keras
from keras import ops

from keras_epsanet.integers import check_positive
from keras_epsanet.layers.grouped_conv2d import GroupedConv2D
from keras_epsanet.ops.grouped_conv import grouped_convolution


@keras.saving.register_keras_serializable(package="keras_epsanet")
class DilatedConv2D(GroupedConv2D):
    """`GroupedConv2D` whose kernel meets every n-th pixel only.

    The pixels whose positions have the same remainder are an image each, and
    what is convolved is those. So it has every form and every number of
    groups that `GroupedConv2D` has, where the frameworks' own dilated
    convolutions miss some on a CPU.

    Args:
        filters: Integer, number of output channels, divisible by `groups`.
        kernel_size: Odd positive integer or pair of them.
        dilation: Positive integer, distance of the pixels that the kernel
            meets.
        strides: Positive integer or pair of them, in pixels.
        **kwargs: Further arguments of `GroupedConv2D`.

    Input shape:
        `(N, H, W, C)`, channels-first `(N, C, H, W)`.

    Output shape:
        `(N, ceil(H / strides), ceil(W / strides), filters)`, channels-first
        `(N, filters, ceil(H / strides), ceil(W / strides))`.

    Raises:
        ValueError: For the reasons of `GroupedConv2D`, or if `dilation` is
            not positive.
    """

    def __init__(self, filters, kernel_size, dilation=1, strides=1, **kwargs):
        dilation = check_positive(dilation=dilation)
        super().__init__(filters, kernel_size, strides=strides, **kwargs)
        self.dilation = dilation

    def convolution_op(self, inputs, kernel):
        n = self.dilation
        if n == 1:
            return super().convolution_op(inputs, kernel)
        if all(stride % n == 0 for stride in self.strides):
            # Only the pixels without a remainder are met.
            inputs = self._every(inputs, (n, n))
            strides = tuple(stride // n for stride in self.strides)
            return grouped_convolution(
                inputs, kernel, strides, self.groups, self.data_format
            )
        images = self._to_images(inputs)
        images = grouped_convolution(
            images, kernel, (1, 1), self.groups, self.data_format
        )
        shape = ops.shape(inputs)
        height, width = (shape[axis] for axis in self._pixel_axes)
        outputs = self._crop(self._from_images(images), height, width)
        return self._every(outputs, self.strides)

    @property
    def _pixel_axes(self):
        return (1, 2) if self.data_format == "channels_last" else (2, 3)

    def _every(self, images, steps):
        rows, columns = (slice(None, None, step) for step in steps)
        if self.data_format == "channels_last":
            return images[:, rows, columns]
        return images[:, :, rows, columns]

    def _crop(self, images, height, width):
        if self.data_format == "channels_last":
            return images[:, :height, :width]
        return images[:, :, :height, :width]

    def _to_images(self, inputs):
        """Returns `n * n` images for each, one for each pair of remainders."""
        n, axes = self.dilation, self._pixel_axes
        shape = ops.shape(inputs)
        height, width = (-(-shape[axis] // n) for axis in axes)
        padding = [(0, n - 1 if axis in axes else 0) for axis in range(4)]
        inputs = self._crop(ops.pad(inputs, padding), n * height, n * width)
        if self.data_format == "channels_last":
            channels = inputs.shape[3]
            images = ops.reshape(inputs, (-1, height, n, width, n, channels))
            images = ops.transpose(images, (2, 4, 0, 1, 3, 5))
            return ops.reshape(images, (-1, height, width, channels))
        channels = inputs.shape[1]
        images = ops.reshape(inputs, (-1, channels, height, n, width, n))
        images = ops.transpose(images, (3, 5, 0, 1, 2, 4))
        return ops.reshape(images, (-1, channels, height, width))

    def _from_images(self, images):
        n, shape = self.dilation, ops.shape(images)
        images = ops.reshape(images, (n, n, -1, *shape[1:]))
        if self.data_format == "channels_last":
            images = ops.transpose(images, (2, 3, 0, 4, 1, 5))
            sizes = (n * shape[1], n * shape[2], shape[3])
        else:
            images = ops.transpose(images, (2, 3, 4, 0, 5, 1))
            sizes = (shape[1], n * shape[2], n * shape[3])
        return ops.reshape(images, (-1, *sizes))

    def get_config(self):
        return {**super().get_config(), "dilation": self.dilation}
