import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow's forms", allow_module_level=True)

import tensorflow as tf

from keras_epsanet.ops import grouped_conv_tensorflow
from keras_epsanet.ops.grouped_conv import grouped_convolution


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_what_a_cpu_lacks_is_found_out(dtype):
    dtype = tf.as_dtype(dtype)
    image = tf.zeros((1, 3, 3, 4), dtype)
    try:
        tf.raw_ops.Conv2DBackpropInput(
            input_sizes=image.shape,
            filter=tf.zeros((3, 3, 2, 4), dtype),
            out_backprop=image,
            strides=[1, 1, 1, 1],
            padding="SAME",
        )
        fails = False
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
        fails = True
    grouped_conv_tensorflow.lacks_onednn.cache_clear()
    # Asked while a graph is traced.
    found = []
    tf.function(
        lambda: found.append(grouped_conv_tensorflow.lacks_onednn(dtype))
    )()
    assert found == [fails]


def operations(shape, kernel_shape, strides, groups):
    """Shapes of the images in the graph of a convolution, by operation."""
    traced = tf.function(
        lambda inputs, kernel: grouped_convolution(
            inputs, kernel, strides, groups, "channels_last"
        )
    ).get_concrete_function(tf.TensorSpec(shape), tf.TensorSpec(kernel_shape))
    outputs = {
        each.type: tuple(each.outputs[0].shape)
        for each in traced.graph.get_operations()
        if each.outputs and each.outputs[0].shape.rank == 4
    }
    passed_on = ("Placeholder", "Identity", "IdentityN")
    return {k: shape for k, shape in outputs.items() if k not in passed_on}


def test_graphs_have_nothing_to_slice_or_to_pad_without_need():
    pointwise = (1, 1, 4, 8)
    found = operations((None, 8, 8, 4), pointwise, (1, 1), 1)
    assert found == {"Conv2D": (None, 8, 8, 8)}
    found = operations((None, 8, 8, 4), pointwise, (2, 3), 1)
    assert found == {"AvgPool": (None, 4, 3, 4), "Conv2D": (None, 4, 3, 8)}
    # TensorFlow pads by itself.
    found = operations((None, 8, 8, 4), (3, 3, 4, 8), (1, 1), 1)
    assert found == {"Conv2D": (None, 8, 8, 8)}
    # Nor where the sizes are unknown.
    found = operations((None, None, None, 4), (3, 3, 4, 8), (1, 1), 1)
    assert found == {"Conv2D": (None, None, None, 8)}


@pytest.mark.parametrize(
    "size, stride, padded",
    [
        (8, 2, 2 + 8 + 1),  # The last column is the second of a pair.
        (9, 2, 2 + 9 + 2),
        (8, 3, 2 + 8 + 1),
        (7, 3, 2 + 7 + 2),
        (9, 3, 2 + 9 + 0),
    ],
)
def test_no_row_is_padded_that_is_never_read(size, stride, padded):
    found = operations((None, size, size, 4), (5, 5, 4, 8), [stride] * 2, 1)
    assert found["Pad"] == (None, padded, padded, 4)
    assert found["Conv2D"][1:3] == (-(-size // stride),) * 2


@pytest.mark.parametrize("traced", [False, True])
def test_strides_may_pass_over_the_last_rows(traced):
    inputs = np.random.default_rng(0).standard_normal((1, 9, 8, 4))
    kernel = np.random.default_rng(1).standard_normal((3, 3, 2, 6))

    def convolve(inputs, kernel):
        return grouped_convolution(inputs, kernel, (5, 4), 2, "channels_last")

    if traced:  # Of images of any size.
        signature = [
            tf.TensorSpec((None, None, None, 4), "float64"),
            tf.TensorSpec((3, 3, 2, 6), "float64"),
        ]
        convolve = tf.function(convolve, input_signature=signature)
    padded = np.pad(inputs, [(0, 0), (1, 0), (1, 0), (0, 0)])
    parts = np.split(kernel, 2, axis=-1)
    expected = [
        [
            np.concatenate(
                [
                    np.tensordot(padded[0, y : y + 3, x : x + 3, c], part, 3)
                    for c, part in zip((slice(2), slice(2, 4)), parts)
                ]
            )
            for x in (0, 4)
        ]
        for y in (0, 5)
    ]
    np.testing.assert_allclose(convolve(inputs, kernel)[0], expected)


def test_strided_pointwise_convolutions_take_every_pixel_as_it_is():
    random = np.random.default_rng(0)
    inputs = random.standard_normal((2, 5, 8, 4)).astype("float32")
    inputs[0, 2, 3, 1] = np.nan  # Read.
    inputs[1, 1, 3, 1] = np.nan  # Not read.
    kernel = random.standard_normal((1, 1, 4, 6)).astype("float32")
    outputs = grouped_convolution(
        tf.constant(inputs), tf.constant(kernel), (2, 3), 1, "channels_last"
    )
    expected = inputs[:, ::2, ::3] @ kernel[0, 0]
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    assert np.isnan(outputs).all(-1).sum() == 1


@pytest.mark.parametrize("kind", ["GPU", "TPU"])
@pytest.mark.parametrize("strides", [1, 2])
def test_accelerators_get_one_convolution_that_xla_differentiates(
    monkeypatch, kind, strides
):
    random = np.random.default_rng(0)
    inputs = tf.constant(random.standard_normal((2, 17, 20, 8)), "float32")
    kernel = tf.constant(random.standard_normal((5, 5, 2, 8)), "float32")

    def gradients(inputs, kernel):
        with tf.GradientTape() as tape:
            tape.watch((inputs, kernel))
            outputs = grouped_convolution(
                inputs, kernel, (strides, strides), 4, "channels_last"
            )
            loss = tf.reduce_sum(outputs**2)
        return outputs, *tape.gradient(loss, (inputs, kernel))

    expected = tf.function(gradients)(inputs, kernel)
    monkeypatch.setattr(
        tf.config,
        "list_logical_devices",
        lambda device_type=None: [kind] * (device_type == kind),
    )
    # What a TPU runs is compiled by XLA.
    compiled = tf.function(gradients, jit_compile=True)
    graph = compiled.get_concrete_function(inputs, kernel).graph
    kinds = [operation.type for operation in graph.get_operations()]
    assert [x for x in kinds if x.startswith("Conv2D")] == [
        "Conv2D",
        "Conv2DBackpropInput",
        "Conv2DBackpropFilter",
    ]
    assert "Transpose" not in kinds  # Nothing is tiled.
    for ours, theirs in zip(compiled(inputs, kernel), expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kernel_size", [(1, 1), (5, 3)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 1)])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_gpu_computes_channels_first_without_a_transposition(
    monkeypatch, kernel_size, strides, groups
):
    random = np.random.default_rng(0)
    image = random.standard_normal((2, 4, 7, 6)).astype("float32")
    kernel = random.standard_normal((*kernel_size, 4 // groups, 6))
    kernel = tf.constant(kernel.astype("float32"))
    expected = _outputs_and_gradients(image, kernel, strides, groups, False)
    operations = _operations(image, kernel, strides, groups, True)
    assert "Transpose" in operations  # Without a GPU as ever.
    monkeypatch.setattr(
        grouped_conv_tensorflow, "_has_accelerator", lambda: True
    )
    assert "Transpose" in _operations(image, kernel, strides, groups, False)
    operations = _operations(image, kernel, strides, groups, True)
    assert "Conv2D" in operations and "Transpose" not in operations
    found = _outputs_and_gradients(image, kernel, strides, groups, True)
    for one, other, limit in zip(found, expected, (1e-5, 1e-4, 1e-4)):
        np.testing.assert_allclose(one, other, atol=limit * np.abs(other).max())


def _outputs_and_gradients(image, kernel, strides, groups, native):
    # XLA computes channels-first on a CPU, too.
    @tf.function(jit_compile=native)
    def compute(image, kernel):
        with tf.GradientTape() as tape:
            tape.watch((image, kernel))
            outputs = grouped_convolution(
                image, kernel, strides, groups, "channels_first", native
            )
            squares = outputs**2
        return outputs, *tape.gradient(squares, (image, kernel))

    return [x.numpy() for x in compute(tf.constant(image), kernel)]


def _operations(image, kernel, strides, groups, native):
    def convolve(image):
        return grouped_convolution(
            image, kernel, strides, groups, "channels_first", native
        )

    traced = tf.function(convolve).get_concrete_function(tf.constant(image))
    return {operation.type for operation in traced.graph.get_operations()}
