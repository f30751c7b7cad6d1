"""Grouped convolution, by each backend in its fastest exact form."""

import functools

import keras
from keras import ops

from keras_epsanet.layers.pixel_tiles import PixelTiles


def grouped_convolution(inputs, kernel, strides, groups, data_format):
    """Grouped 2D convolution, padded by half of the kernel on every side.

    Args:
        inputs: Tensor `(N, H, W, C)`, channels-first `(N, C, H, W)`.
        kernel: Tensor `(height, width, C / groups, filters)`.
        strides: Pair of integers, in pixels.
        groups: Integer, number of groups.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        Tensor `(N, H', W', filters)`, channels-first `(N, filters, H', W')`.
    """
    convolve = {
        "tensorflow": _convolve_tensorflow,
        "jax": _convolve_jax,
        "torch": _convolve_torch,
    }[keras.backend.backend()]
    inputs = ops.convert_to_tensor(inputs)
    kernel = _crop_to_reach(
        ops.convert_to_tensor(kernel), inputs.shape, data_format
    )
    return convolve(inputs, kernel, strides, groups, data_format)


def _crop_to_reach(kernel, input_shape, data_format):
    """Leaves out the rim of a kernel that only ever meets the padding.

    From any pixel, the farthest of `n` in a row is `n - 1` away.
    """
    first = 1 if data_format == "channels_last" else 2
    sizes = kernel.shape[:2]
    reach = [
        size if pixels is None else min(size, 2 * pixels - 1)
        for size, pixels in zip(sizes, input_shape[first : first + 2])
    ]
    if reach == list(sizes):
        return kernel
    start = [(size - reached) // 2 for size, reached in zip(sizes, reach)]
    return ops.slice(kernel, (*start, 0, 0), (*reach, *kernel.shape[2:]))


def _convolve_tensorflow(inputs, kernel, strides, groups, data_format):
    import tensorflow as tf

    kernel = tf.convert_to_tensor(kernel)  # For `tf.custom_gradient`.
    if data_format == "channels_first":
        # TensorFlow has no channels-first convolutions for every type on a
        # CPU, and a GPU's layout pass removes the transpositions it can.
        outputs = _convolve_tensorflow(
            tf.transpose(inputs, (0, 2, 3, 1)),
            kernel,
            strides,
            groups,
            "channels_last",
        )
        return tf.transpose(outputs, (0, 3, 1, 2))
    pointwise = tuple(kernel.shape[:2]) == (1, 1)
    if pointwise and tuple(strides) != (1, 1):
        # The strided kernel's gradient is several times slower. (Without
        # strides, a slice of everything would hold up exported graphs.)
        inputs, strides = inputs[:, :: strides[0], :: strides[1]], (1, 1)

    sizes = [
        (n - 1) // stride + 1
        for n, stride in zip(ops.shape(inputs)[1:3], strides)
    ]
    if _tensorflow_has_gpu() or (
        groups == 1
        and not (pointwise and _tensorflow_lacks_onednn(kernel.dtype))
    ):
        inputs, padding = _pad_tensorflow(inputs, kernel, strides, sizes)
        return tf.nn.conv2d(inputs, kernel, strides, padding)
    tiles = PixelTiles(kernel.shape, strides, groups, sizes)
    whole = [-(-n // tile) * tile for n, tile in zip(sizes, tiles.shape)]
    inputs, padding = _pad_tensorflow(inputs, kernel, strides, whole)
    outputs = _convolve_tensorflow_cpu(
        inputs, kernel, strides, groups, padding, tiles
    )
    if all(isinstance(n, int) and n == w for n, w in zip(sizes, whole)):
        return outputs
    outputs = outputs[:, : sizes[0], : sizes[1]]
    known = [n if isinstance(n, int) else None for n in sizes]
    outputs.set_shape((None, *known, None))
    return outputs


def _pad_tensorflow(inputs, kernel, strides, output_sizes):
    """Pads for odd kernels; returns the inputs and what is left to pad.

    No row is padded that is never read: besides the work, oneDNN's gradient
    of some even widths is 20 times slower. Explicit paddings in `conv2d`
    itself would do without the copy, but oneDNN has no gradient for them.
    """
    import tensorflow as tf

    # Without strides, "SAME" is half of the kernel on every side.
    padding = "SAME" if tuple(strides) == (1, 1) else "VALID"
    pads = []
    for size, k, stride, output_size in zip(
        ops.shape(inputs)[1:3], kernel.shape, strides, output_sizes
    ):
        if padding == "SAME":
            pads.append((0, output_size - size))
        else:
            end = (output_size - 1) * stride + k - size - k // 2
            after = max(end, 0) if isinstance(end, int) else tf.maximum(end, 0)
            pads.append((k // 2, after))
    if any(not isinstance(n, int) or n > 0 for pad in pads for n in pad):
        inputs = tf.pad(inputs, [(0, 0), *pads, (0, 0)])
    return inputs, padding


def _convolve_tensorflow_cpu(inputs, kernel, strides, groups, padding, tiles):
    """Convolution with gradients for a CPU.

    The inputs' gradient is that of the plain convolution, whose lanes are
    the channels of the inputs, of which a group has enough. Without oneDNN it
    is that of the tiles, group by group.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def convolve(inputs, kernel):
        if tiles.shape == (1, 1):
            outputs = tf.nn.conv2d(inputs, kernel, strides, padding)
        else:
            outputs = tiles.to_pixels(
                tf.nn.conv2d(
                    inputs, tiles.expand(kernel), tiles.strides, padding
                )
            )

        def gradient(upstream):
            if _tensorflow_lacks_onednn(kernel.dtype):
                parts = zip(
                    tf.split(inputs, groups, -1),
                    tf.split(tiles.expand(kernel), groups, -1),
                    tf.split(tiles.to_channels(upstream), groups, -1),
                )
                gradients = _gradients
                if tuple(kernel.shape[:2]) == (1, 1):
                    gradients = _pointwise_gradients
                parts = [gradients(*x, tiles.strides, padding) for x in parts]
                of_inputs, of_tiles = [tf.concat(x, -1) for x in zip(*parts)]
                return of_inputs, tiles.reduce(of_tiles)
            if tiles.shape == (1, 1):
                return _gradients(inputs, kernel, upstream, strides, padding)
            return (
                _inputs_gradient(inputs, kernel, upstream, strides, padding),
                tiles.reduce(
                    _kernel_gradient(
                        inputs,
                        tiles.expand(kernel),
                        tiles.to_channels(upstream),
                        tiles.strides,
                        padding,
                    )
                ),
            )

        return outputs, gradient

    return convolve(inputs, kernel)


def _gradients(*args):
    return _inputs_gradient(*args), _kernel_gradient(*args)


def _pointwise_gradients(inputs, kernel, upstream, strides, padding):
    """As products of matrices."""
    import tensorflow as tf

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
    import tensorflow as tf

    return tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.shape(inputs),
        filter=kernel,
        out_backprop=upstream,
        strides=[1, *strides, 1],
        padding=padding,
    )


def _kernel_gradient(inputs, kernel, upstream, strides, padding):
    import tensorflow as tf

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


def _tensorflow_has_gpu():
    import tensorflow as tf

    with tf.init_scope():
        return bool(tf.config.list_logical_devices("GPU"))


@functools.cache
def _tensorflow_lacks_onednn(dtype):
    """Asks TensorFlow for the gradient of a tiny grouped convolution.

    A CPU has it through oneDNN only, whose use depends on the processor, the
    build, TF_ENABLE_ONEDNN_OPTS and the data type.
    """
    import tensorflow as tf

    # Out of the graph that is being traced. No tape: none records in there.
    with tf.init_scope(), tf.device("CPU:0"):
        image = tf.zeros((1, 3, 3, 4), dtype)
        kernel = tf.zeros((3, 3, 2, 4), dtype)
        options = {"strides": [1, 1, 1, 1], "padding": "SAME"}
        try:
            tf.raw_ops.Conv2DBackpropInput(
                input_sizes=image.shape,
                filter=kernel,
                out_backprop=image,
                **options,
            )
            tf.raw_ops.Conv2DBackpropFilter(
                input=image,
                filter_sizes=kernel.shape,
                out_backprop=image,
                **options,
            )
        except (
            tf.errors.InvalidArgumentError,
            tf.errors.UnimplementedError,
        ):
            return True
    return False


def _convolve_jax(inputs, kernel, strides, groups, data_format):
    import jax

    pads = [(size // 2, size // 2) for size in kernel.shape[:2]]
    on_cpu = jax.default_backend() == "cpu"
    pointwise = groups == 1 and tuple(kernel.shape[:2]) == (1, 1)
    if not on_cpu or (groups == 1 and not pointwise):
        layout = "NHWC" if data_format == "channels_last" else "NCHW"
        return jax.lax.conv_general_dilated(
            inputs,
            kernel,
            window_strides=strides,
            padding=pads,
            dimension_numbers=(layout, "HWIO", layout),
            feature_group_count=groups,
        )
    if data_format == "channels_first":
        inputs = inputs.transpose(0, 2, 3, 1)
    if pointwise:
        # As a product of matrices: the gradient of XLA's convolution with
        # respect to such a kernel is 10 times slower.
        inputs = inputs[:, :: strides[0], :: strides[1]]
        *shape, channels = inputs.shape
        outputs = inputs.reshape(-1, channels) @ kernel[0, 0]
        outputs = outputs.reshape(*shape, -1)
    else:
        outputs = _grouped_convolution_jax()(
            inputs, kernel, tuple(strides), groups
        )
    if data_format == "channels_first":
        outputs = outputs.transpose(0, 3, 1, 2)
    return outputs


@functools.cache
def _grouped_convolution_jax():
    """Returns the convolution of several groups for a CPU, channels last.

    XLA's own is 10 to 40 times slower than one convolution per group. The
    gradient with respect to the inputs is mostly that without tiles, as on
    TensorFlow. All is compiled as one, for outside of a `jit` JAX would
    compile every slice by itself.
    """
    import jax

    layout = ("NHWC", "HWIO", "NHWC")

    def convolve_groups(inputs, kernel, strides, pads, groups):
        parts = zip(
            jax.numpy.split(inputs, groups, -1),
            jax.numpy.split(kernel, groups, -1),
        )
        return jax.numpy.concatenate(
            [
                jax.lax.conv_general_dilated(
                    x, k, strides, pads, dimension_numbers=layout
                )
                for x, k in parts
            ],
            axis=-1,
        )

    def convolve_pixels(inputs, kernel, strides, groups):
        pads = [(size // 2, size // 2) for size in kernel.shape[:2]]
        return convolve_groups(inputs, kernel, strides, pads, groups)

    def convolve_tiles(inputs, kernel, strides, groups):
        input_sizes = inputs.shape[1:3]
        sizes = [(n - 1) // s + 1 for n, s in zip(input_sizes, strides)]
        tiles = PixelTiles(kernel.shape, strides, groups, sizes)
        if tiles.shape == (1, 1):
            return convolve_pixels(inputs, kernel, strides, groups)
        pads = []
        for size, n, k, s, tile in zip(
            input_sizes, sizes, kernel.shape, strides, tiles.shape
        ):
            whole = -(-n // tile) * tile
            pads.append((k // 2, (whole - 1) * s + k - size - k // 2))
        outputs = convolve_groups(
            inputs, tiles.expand(kernel), tiles.strides, pads, groups
        )
        return tiles.to_pixels(outputs)[:, : sizes[0], : sizes[1]]

    @functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
    def convolve(inputs, kernel, strides, groups):
        return convolve_tiles(inputs, kernel, strides, groups)

    def forward(inputs, kernel, strides, groups):
        outputs = convolve_tiles(inputs, kernel, strides, groups)
        return outputs, (inputs, kernel)

    def backward(strides, groups, operands, upstream):
        inputs, kernel = operands
        # Where a group has enough channels to fill the lanes without tiles.
        filled = kernel.shape[2] > 4 * strides[0]
        form = convolve_pixels if filled else convolve_tiles
        _, inputs_gradient = jax.vjp(
            lambda x: form(x, kernel, strides, groups), inputs
        )
        _, kernel_gradient = jax.vjp(
            lambda k: convolve_tiles(inputs, k, strides, groups), kernel
        )
        return *inputs_gradient(upstream), *kernel_gradient(upstream)

    convolve.defvjp(forward, backward)
    return jax.jit(convolve, static_argnums=(2, 3))


def _convolve_torch(inputs, kernel, strides, groups, data_format):
    import torch

    # A permuted view of a channels-last tensor is PyTorch's own
    # channels-last layout, so nothing is copied, but for tensors that Keras
    # made with the channels first, as its pooling does: all that follows
    # would be as they are, and slow.
    if data_format == "channels_last":
        inputs = inputs.permute(0, 3, 1, 2)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    outputs = torch.nn.functional.conv2d(
        inputs,
        kernel.permute(3, 2, 0, 1),
        stride=strides,
        padding=(kernel.shape[0] // 2, kernel.shape[1] // 2),
        groups=groups,
    )
    if data_format == "channels_last":
        outputs = outputs.permute(0, 2, 3, 1)
    return outputs
