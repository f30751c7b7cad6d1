"""Grouped convolution on TensorFlow."""

import functools

import tensorflow as tf
from keras import ops

from keras_epsanet.ops import forms
from keras_epsanet.ops.pixel_tiles import PixelTiles
from keras_epsanet.ops.processor import vector_lanes
from keras_epsanet.ops.recomputed_tensorflow import Padding, Picking


def convolve_tensorflow(
    inputs, kernel, strides, groups, data_format, native=False
):
    """As `grouped_convolution`, of a kernel that fits the inputs."""
    kernel = tf.convert_to_tensor(kernel)  # For `tf.custom_gradient`.
    if data_format == "channels_first":
        return _convolve_channels_first(inputs, kernel, strides, groups, native)
    pointwise = tuple(kernel.shape[:2]) == (1, 1)
    shape = ops.shape(inputs)[1:3]
    sizes = [
        n if stride == 1 else (n - 1) // stride + 1
        for n, stride in zip(shape, strides)
    ]
    if _has_accelerator() or (
        groups == 1
        and tuple(strides) == (1, 1)
        and not (pointwise and lacks_onednn(kernel.dtype))
    ):
        padding, before = _paddings(shape, kernel, strides, sizes)
        return tf.nn.conv2d(before.apply(inputs), kernel, strides, padding)
    found = forms.Forms(forms.NO_TILES, forms.NO_TILES)
    if groups > 1:
        # Eigen, which computes without oneDNN, was measured with AVX2 alone.
        lanes = 8 if lacks_onednn(kernel.dtype) else vector_lanes()
        found = forms.find(kernel, strides, groups, sizes, lanes)
    # Of positive numbers alone: ONNX rounds the quotients of others up.
    whole = [
        n if pixels == 1 else (n + pixels - 1) // pixels * pixels
        for n, pixels in zip(sizes, map(max, *found))
    ]
    padding, before = _paddings(shape, kernel, strides, whole)
    if pointwise and tuple(strides) != (1, 1):
        # The strided kernel's gradient can be several times slower.
        before, strides = Picking(strides), (1, 1)
    tiles, gradient_tiles = (
        PixelTiles(kernel.shape, strides, groups, shape) for shape in found
    )
    outputs = _convolve_on_cpu(
        inputs, kernel, strides, groups, before, padding, tiles, gradient_tiles
    )
    if all(isinstance(n, int) and n == w for n, w in zip(sizes, whole)):
        return outputs
    outputs = outputs[:, : sizes[0], : sizes[1]]
    known = [n if isinstance(n, int) else None for n in sizes]
    outputs.set_shape((None, *known, None))
    return outputs


def _convolve_channels_first(inputs, kernel, strides, groups, native):
    if native and _has_accelerator():
        pads = [(size // 2, size // 2) for size in kernel.shape[:2]]
        return tf.nn.conv2d(
            inputs, kernel, strides, [(0, 0), (0, 0), *pads], data_format="NCHW"
        )
    # TensorFlow has no channels-first convolutions for every type on a CPU,
    # and a GPU's layout pass removes the transpositions it can.
    outputs = convolve_tensorflow(
        tf.transpose(inputs, (0, 2, 3, 1)),
        kernel,
        strides,
        groups,
        "channels_last",
    )
    return tf.transpose(outputs, (0, 3, 1, 2))


def _paddings(sizes, kernel, strides, output_sizes):
    """What the convolution is to pad, and the `Padding` before it.

    No row is padded that is never read: besides the work, oneDNN's gradient
    of some even widths is 20 times slower. Explicit paddings in `conv2d`
    itself would do without the copy, but oneDNN has no gradient for them.
    """
    # Without strides, "SAME" is half of the kernel on every side.
    padding = "SAME" if tuple(strides) == (1, 1) else "VALID"
    pads = []
    for size, k, stride, output_size in zip(
        sizes, kernel.shape, strides, output_sizes
    ):
        if padding == "SAME":
            # Sizes that are not known yet are equal if they are the same.
            more = 0 if output_size is size else output_size - size
            pads.append((0, more))
        else:
            end = (output_size - 1) * stride + k - size - k // 2
            after = max(end, 0) if isinstance(end, int) else tf.maximum(end, 0)
            pads.append((k // 2, after))
    return padding, Padding(pads)


def _convolve_on_cpu(
    inputs, kernel, strides, groups, before, padding, tiles, gradient_tiles
):
    """Convolution with gradients for a CPU, of whole tiles of either shape.

    The inputs' gradient is that of the plain convolution, whose lanes are
    the channels of the inputs, of which a group has enough. Without oneDNN it
    is that of the tiles, group by group.
    """

    @tf.custom_gradient
    def convolve(inputs, kernel):
        images = before.apply(inputs)
        outputs = tiles.to_pixels(
            tf.nn.conv2d(images, tiles.expand(kernel), tiles.strides, padding)
        )

        def gradient(upstream):
            images = before.apply_again(inputs, upstream)
            expanded = gradient_tiles.expand(kernel)
            channels = gradient_tiles.to_channels(upstream)
            tile_strides = gradient_tiles.strides
            if lacks_onednn(kernel.dtype):
                of_images, of_kernel = _gradients_of_groups(
                    images, expanded, channels, tile_strides, padding, groups
                )
            else:
                of_images = _inputs_gradient(
                    images, kernel, upstream, strides, padding
                )
                of_kernel = _kernel_gradient(
                    images, expanded, channels, tile_strides, padding
                )
            of_inputs = before.adjoint(of_images, inputs)
            return of_inputs, gradient_tiles.reduce(of_kernel)

        return outputs, gradient

    return convolve(inputs, kernel)


def _gradients_of_groups(inputs, kernel, upstream, strides, padding, groups):
    parts = zip(
        tf.split(inputs, groups, -1),
        tf.split(kernel, groups, -1),
        tf.split(upstream, groups, -1),
    )
    gradients = _gradients
    if tuple(kernel.shape[:2]) == (1, 1):
        gradients = _pointwise_gradients
    gradients = [gradients(*part, strides, padding) for part in parts]
    of_inputs, of_kernel = [tf.concat(x, -1) for x in zip(*gradients)]
    return of_inputs, of_kernel


def _gradients(*args):
    return _inputs_gradient(*args), _kernel_gradient(*args)


def _pointwise_gradients(inputs, kernel, upstream, strides, padding):
    """As products of matrices."""
    pixels = tf.reshape(inputs, (-1, kernel.shape[2]))
    of_pixels = tf.reshape(upstream, (-1, kernel.shape[3]))
    return (
        tf.reshape(
            tf.matmul(of_pixels, kernel[0, 0], transpose_b=True),
            tf.shape(inputs),
        ),
        tf.matmul(pixels, of_pixels, transpose_a=True)[None, None],
    )


def _inputs_gradient(inputs, kernel, upstream, strides, padding):
    return tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.shape(inputs),
        filter=kernel,
        out_backprop=upstream,
        strides=[1, *strides, 1],
        padding=padding,
    )


def _kernel_gradient(inputs, kernel, upstream, strides, padding):
    sizes = list(zip(inputs.shape[1:3], kernel.shape))
    if padding == "SAME" and any(n is not None and n < k for n, k in sizes):
        # oneDNN computes "SAME" several times slower for such kernels.
        pads = [(k // 2, k // 2) for _, k in sizes]
        inputs, padding = tf.pad(inputs, [(0, 0), *pads, (0, 0)]), "VALID"
    return tf.raw_ops.Conv2DBackpropFilter(
        input=inputs,
        filter_sizes=kernel.shape,
        out_backprop=upstream,
        strides=[1, *strides, 1],
        padding=padding,
    )


def _has_accelerator():
    # XLA, which compiles all that runs on a TPU, has grouped convolutions
    # and their gradients, for which the forms of a CPU would be a detour.
    with tf.init_scope():
        return any(
            tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU")
        )


@functools.cache
def lacks_onednn(dtype):
    """Asks TensorFlow for the gradient of a tiny grouped convolution.

    A CPU has it through oneDNN only, whose use depends on the processor, the
    build, TF_ENABLE_ONEDNN_OPTS and the data type.
    """

    def compute_gradient(_):
        image = tf.zeros((1, 3, 3, 4), dtype)
        return _gradients(
            image, tf.zeros((3, 3, 2, 4), dtype), image, (1, 1), "SAME"
        )

    # Out of the graph that is being traced. In a data set a refusal leaves
    # out the element, where a call would also write a warning to the log.
    with tf.init_scope(), tf.device("CPU:0"):
        gradients = tf.data.Dataset.range(1).map(compute_gradient)
        return not list(gradients.ignore_errors())
