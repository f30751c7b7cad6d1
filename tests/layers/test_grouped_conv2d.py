import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from keras_epsanet.layers import GroupedConv2D

PADDING = ((0, 0), (2, 2), (2, 2), (0, 0))
BACKEND = keras.backend.backend()


def oracle(x, kernel, strides, groups):
    """Grouped convolution (N, H, W, C), padded by k // 2, in plain NumPy."""
    height, width, depth, filters = kernel.shape
    x = np.pad(
        x,
        (
            (0, 0),
            (height // 2, height // 2),
            (width // 2, width // 2),
            (0, 0),
        ),
    )
    down, right = np.broadcast_to(strides, 2)
    rows = range(0, x.shape[1] - height + 1, down)
    columns = range(0, x.shape[2] - width + 1, right)
    y = np.zeros((len(x), len(rows), len(columns), filters))
    each = filters // groups
    for g in range(groups):
        channels = x[..., g * depth : (g + 1) * depth]
        weights = kernel[..., g * each : (g + 1) * each]
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                patch = channels[:, row : row + height, column : column + width]
                y[:, i, j, g * each : (g + 1) * each] = np.tensordot(
                    patch, weights, 3
                )
    return y


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("kernel_size", [1, 3, 5, (3, 7)])
@pytest.mark.parametrize("strides", [1, 2, 3, (3, 2)])
@pytest.mark.parametrize("groups", [1, 4, 8])
def test_equals_a_convolution_in_numpy(
    data_format, kernel_size, strides, groups
):
    x = np.random.default_rng(0).standard_normal((2, 9, 12, 8))
    x = x.astype("float32")
    layer = GroupedConv2D(
        16, kernel_size, strides, groups, data_format=data_format
    )
    if data_format == "channels_last":
        y = ops.convert_to_numpy(layer(x))
        assert y.shape == layer.compute_output_shape(x.shape)
    else:
        x_first = x.transpose(0, 3, 1, 2)
        y = ops.convert_to_numpy(layer(x_first))
        assert y.shape == layer.compute_output_shape(x_first.shape)
        y = y.transpose(0, 2, 3, 1)
    expected = oracle(x, layer.kernel.numpy(), strides, groups)
    np.testing.assert_allclose(y, expected, atol=2e-5)


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("groups", [2, 4, 8])
def test_unknown_sizes_are_as_known_ones(strides, groups):
    x = np.random.default_rng(0).standard_normal((2, 13, 15, 8))
    inputs = keras.Input((None, None, 8))
    layer = GroupedConv2D(8, 5, strides, groups)
    model = keras.Model(inputs, layer(inputs))
    y = model.predict(x, verbose=0)
    expected = oracle(x, layer.kernel.numpy(), strides, groups)
    np.testing.assert_allclose(y, expected, atol=2e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool"])
@pytest.mark.parametrize("kernel_size, groups", [(3, 1), (3, 4), (1, 1)])
def test_integers_are_convolved_as_numbers(dtype, kernel_size, groups):
    x = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 8)).astype(dtype)
    layer = GroupedConv2D(8, kernel_size, groups=groups)
    y = ops.convert_to_numpy(layer(ops.convert_to_tensor(x)))
    expected = oracle(x.astype("float32"), layer.kernel.numpy(), 1, groups)
    assert y.dtype == "float32"
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="partly known shapes")
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("groups", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(12, 16), (13, 15), (12, None)])
def test_what_is_known_of_the_shape_stays_known(strides, groups, size):
    import tensorflow as tf

    layer = GroupedConv2D(8, 5, strides, groups)
    shape = (None, *size, 8)
    traced = tf.function(layer).get_concrete_function(tf.TensorSpec(shape))
    assert traced.output_shapes == layer.compute_output_shape(shape)


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 9)])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_kernels_may_be_larger_than_the_image(size, strides, data_format):
    x = np.random.default_rng(0).standard_normal((2, *size, 8))
    layer = GroupedConv2D(8, 9, strides, groups=2, data_format=data_format)
    if data_format == "channels_last":
        y = ops.convert_to_numpy(layer(x))
    else:
        y = ops.convert_to_numpy(layer(x.transpose(0, 3, 1, 2)))
        y = y.transpose(0, 2, 3, 1)
    expected = oracle(x, layer.kernel.numpy(), strides, 2)
    np.testing.assert_allclose(y, expected, atol=2e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("size", [(11, 13), (2, 3)])
@pytest.mark.parametrize("each", [1, 2, 3, 8])
def test_gradients_equal_those_of_ungrouped_convolutions(
    value_and_gradients, dtype, strides, size, each
):
    if (BACKEND, dtype, each) == ("torch", "float64", 1):
        pytest.skip("Keras' own layer has no gradient there")
    x = np.random.default_rng(0).standard_normal((2, *size, 8)).astype(dtype)
    grouped = GroupedConv2D(4 * each, 5, strides, groups=4, dtype=dtype)
    grouped.build(x.shape)
    singles = keras.Input(x.shape[1:], dtype=dtype)
    parts = [
        keras.layers.Conv2D(each, 5, strides, use_bias=False, dtype=dtype)(part)
        for part in ops.split(ops.pad(singles, PADDING), 4, axis=-1)
    ]
    reference = keras.Model(singles, ops.concatenate(parts, axis=-1))
    kernels = np.split(grouped.kernel.numpy(), 4, axis=-1)
    for weight, kernel in zip(reference.weights, kernels):
        weight.assign(kernel)

    def loss(y):
        return ops.mean(y**2)

    value, dx, (gradient,) = value_and_gradients(grouped, x, loss)
    value2, dx2, gradients2 = value_and_gradients(reference, x, loss)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(value, value2, rtol=tolerance)
    np.testing.assert_allclose(dx, dx2, atol=tolerance)
    gradients2 = np.concatenate(gradients2, axis=-1)
    np.testing.assert_allclose(gradient, gradients2, atol=tolerance)


# In float64 as without oneDNN.
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("strides", [1, 2])
def test_gradients_of_pointwise_kernels(value_and_gradients, dtype, strides):
    x = np.random.default_rng(0).standard_normal((2, 7, 8, 6)).astype(dtype)
    layer, reference = (
        convolution(5, 1, strides, use_bias=False, dtype=dtype)
        for convolution in (GroupedConv2D, keras.layers.Conv2D)
    )
    reference.build(x.shape)
    layer.build(x.shape)
    layer.kernel.assign(reference.kernel)
    ours, theirs = (
        value_and_gradients(each, x, lambda y: ops.mean(y**2))
        for each in (layer, reference)
    )
    # JAX computes in float32 unless told otherwise.
    single = dtype == "float32" or BACKEND == "jax"
    tolerance = 1e-6 if single else 1e-12
    np.testing.assert_allclose(ours[0], theirs[0], rtol=tolerance)
    np.testing.assert_allclose(ours[1], theirs[1], atol=tolerance)
    np.testing.assert_allclose(ours[2][0], theirs[2][0], atol=tolerance)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_bias_activation_and_regularizer_apply(groups, data_format):
    layer = GroupedConv2D(
        4,
        3,
        groups=groups,
        use_bias=True,
        activation="relu",
        kernel_regularizer="l2",
        data_format=data_format,
    )
    # As many rows and columns as channels, so that all shapes fit.
    x = np.zeros((1, 4, 4, 4), "float32")
    layer.build(x.shape)
    layer.bias.assign([-1.0, 0.0, 1.0, 2.0])
    y = ops.convert_to_numpy(layer(x))
    if data_format == "channels_first":
        y = y.transpose(0, 2, 3, 1)
    expected = np.broadcast_to([0, 0, 1, 2], y.shape)
    np.testing.assert_allclose(y, expected)
    expected = 0.01 * np.sum(layer.kernel.numpy() ** 2)
    np.testing.assert_allclose(float(layer.losses[0]), expected, rtol=1e-5)


def test_initial_kernel_has_the_variance_of_the_published_code():
    layer = GroupedConv2D(256, 3, groups=2)
    layer.build((None, 8, 8, 256))
    kernel = layer.kernel.numpy()
    np.testing.assert_allclose(kernel.var(), 2 / (3 * 3 * 256), rtol=0.02)
    # Not truncated: a normal distribution of this size exceeds 4 sigma.
    assert np.abs(kernel).max() > 4 * kernel.std()


@pytest.mark.parametrize("kernel_size", [2, (3, 4), 0, -1])
def test_even_or_non_positive_kernels_are_refused(kernel_size):
    with pytest.raises(ValueError, match="kernel_size"):
        GroupedConv2D(8, kernel_size)


@pytest.mark.parametrize("name", ["padding", "dilation_rate"])
def test_padding_and_dilation_are_refused(name):
    with pytest.raises(ValueError, match=f"no argument `{name}`.*Received"):
        GroupedConv2D(8, 3, **{name: 2})


def test_groups_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ValueError, match="groups=3, filters=8"):
        GroupedConv2D(8, 3, groups=3)
    with pytest.raises(ValueError, match="groups=4.*6 channels"):
        GroupedConv2D(8, 3, groups=4).build((None, 8, 8, 6))


def test_wrong_rank_is_refused():
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=3"):
        GroupedConv2D(8, 3)(np.zeros((8, 8, 3)))


def test_other_inputs_than_it_was_built_for_are_refused():
    layer = GroupedConv2D(8, 3)
    layer.build((None, 8, 8, 3))
    with pytest.raises(ValueError, match="expected axis -1 .* value 3"):
        layer(np.zeros((1, 8, 8, 4)))
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=3"):
        layer(np.zeros((8, 8, 3)))


@pytest.mark.parametrize(
    "data_format, shape, output_shape",
    [
        ("channels_last", (2, 7, None, 4), (2, 4, None, 8)),
        ("channels_last", (None, 8, 9, 4), (None, 4, 3, 8)),
        ("channels_first", (2, 4, 8, 7), (2, 8, 4, 3)),
        ("channels_first", (2, 4, None, 9), (2, 8, None, 3)),
    ],
)
def test_output_shapes(data_format, shape, output_shape):
    layer = GroupedConv2D(8, (3, 5), (2, 3), data_format=data_format)
    assert layer.compute_output_shape(shape) == output_shape


@pytest.mark.parametrize(
    "arguments, biases, relus",
    [
        ({}, 0, 0),
        ({"use_bias": True}, 1, 0),
        ({"activation": "relu"}, 0, 1),
        ({"activation": "gelu"}, 0, 0),
    ],
)
def test_operations_by_hand(arguments, biases, relus):
    layer = GroupedConv2D(8, (3, 5), 2, groups=2, **arguments)
    layer.build((1, 7, 5, 4))
    elements = 4 * 3 * 8
    assert layer.count_operations((1, 7, 5, 4)) == {
        "macs": elements * 3 * 5 * 2,
        "biases": biases * elements,
        "relus": relus * elements,
    }


SCRIPT = """
import json, os
log = os.open("log", os.O_CREAT | os.O_WRONLY)
os.dup2(log, 2)
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
from keras_epsanet.layers import GroupedConv2D
from keras_epsanet.ops.grouped_conv_tensorflow import lacks_onednn

def warnings():
    return open("log").read().count("Gradients for grouped convolutions")

def compiled(function):
    graph = function.get_concrete_function(x).graph
    functions = graph.as_graph_def().library.function
    return sum(f.attr["_XlaMustCompile"].b for f in functions)

stock = keras.layers.Conv2D(16, 3, groups=4)
layer = GroupedConv2D(16, 3, groups=4)
x = tf.random.normal((2, 8, 8, 16))
layer.build(x.shape)
stock.build(x.shape)

@tf.function
def gradient(x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(layer(x) ** 2)
    return tape.gradient(loss, layer.kernel.value)

found = {"norm": float(tf.norm(gradient(x)))}
found["native"] = not lacks_onednn(tf.float32)
graph = gradient.get_concrete_function(x).graph
kinds = [operation.type for operation in graph.get_operations()]
found["convolutions"] = kinds.count("Conv2DBackpropFilter")
found["compiled"] = compiled(gradient)
found["compiled by Keras"] = compiled(tf.function(stock))
found["warnings"] = warnings()
try:
    tf.raw_ops.Conv2DBackpropInput(
        input_sizes=(1, 3, 3, 4), filter=tf.zeros((3, 3, 2, 4), "float64"),
        out_backprop=tf.zeros((1, 3, 3, 4), "float64"), strides=[1, 1, 1, 1],
        padding="SAME",
    )
except tf.errors.InvalidArgumentError:
    found["warnings of a failing call"] = warnings()

layer = GroupedConv2D(16, 3, groups=2, use_bias=True, activation="relu")
layer.build(x.shape)
layer.bias.assign(np.linspace(-1, 1, 16))
expected = tf.nn.relu(layer.convolution_op(x, layer.kernel) + layer.bias)
error = tf.reduce_max(abs(tf.function(layer)(x) - expected))
found["error with bias"] = float(error)

with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    model = keras.Sequential([
        keras.Input((8, 8, 8)),
        GroupedConv2D(8, 3, groups=4),
        keras.layers.GlobalAveragePooling2D(),
    ])
    model.compile("sgd", "mse")
before = model.get_weights()[0]
model.fit(np.ones((4, 8, 8, 8)), np.zeros((4, 8)), batch_size=4, verbose=0)
found["change"] = float(np.abs(model.get_weights()[0] - before).max())
print(json.dumps(found))
"""


@pytest.fixture(scope="module", params=["0", "1"])
def found(request, tmp_path_factory):
    """What a fresh process finds without oneDNN and with it."""
    if BACKEND != "tensorflow":
        pytest.skip("asks TensorFlow")
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=tmp_path_factory.mktemp("process"),
        env={
            **os.environ,
            "TF_ENABLE_ONEDNN_OPTS": request.param,
            "TF_CPP_MIN_LOG_LEVEL": "0",
        },
    )
    found = json.loads(result.stdout.splitlines()[-1])
    return {**found, "onednn": request.param == "1"}


def test_trains_with_and_without_onednn(found):
    assert found["norm"] > 0
    # One native call where TensorFlow has the gradient, else one per group.
    assert found["convolutions"] == (1 if found["native"] else 4)
    if not found["onednn"]:
        assert not found["native"]


def test_asks_what_is_missing_without_a_warning(found):
    assert found["warnings"] == 0
    # A call that fails on every CPU shows that warnings would be seen.
    assert found["warnings of a failing call"] == 1


def test_never_uses_xla(found):
    assert found["compiled"] == 0
    # The stock layer shows that XLA would be seen.
    assert found["compiled by Keras"] > 0


def test_bias_and_activation_follow_groups_in_a_graph(found):
    assert found["error with bias"] < 1e-6


def test_gradient_exists_in_a_replica(found):
    assert found["change"] > 0
