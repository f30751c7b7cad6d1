import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow's forms", allow_module_level=True)

import tensorflow as tf
from tensorflow.python.eager import context

from keras_epsanet.ops.grouped_conv import grouped_convolution
from keras_epsanet.ops.recomputed_tensorflow import Padding, Picking

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    "function, shape",
    [
        (Padding([(2, 1), (0, 3)]), (2, 8, 8, 3)),
        (Padding([(0, 0), (0, 0)]), (2, 5, 5, 3)),
        (Picking((2, 3)), (2, 3, 2, 3)),
    ],
)
def test_the_gradient_is_that_of_what_is_done(function, shape):
    images = tf.constant(RANDOM.standard_normal((2, 5, 5, 3)), "float32")
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = function.apply(images)
    assert outputs.shape == shape
    upstream = tf.constant(RANDOM.standard_normal(shape), "float32")
    np.testing.assert_array_equal(
        function.adjoint(upstream, images),
        tape.gradient(outputs, images, upstream),
    )
    again = function.apply_again(images, upstream)
    np.testing.assert_array_equal(again, outputs)


def optimized_nodes(function, *arguments):
    """Nodes of a function's graph as TensorFlow runs it."""
    context.enable_run_metadata()
    try:
        tf.function(function, autograph=False)(*arguments)
        metadata = context.export_run_metadata()
    finally:
        context.disable_run_metadata()
    return [
        node
        for graphs in metadata.function_graphs
        for node in graphs.post_optimization_graph.node
    ]


@pytest.mark.parametrize(
    "kernel_shape, groups, again",
    [
        ((1, 1, 8, 8), 1, "AvgPool"),
        ((3, 3, 8, 8), 1, "Pad"),
        ((5, 5, 2, 8), 4, "Pad"),
    ],
)
def test_copies_of_images_are_made_twice_not_kept(kernel_shape, groups, again):
    def gradients(images, kernel):
        with tf.GradientTape() as tape:
            tape.watch((images, kernel))
            outputs = grouped_convolution(
                images, kernel, (2, 2), groups, "channels_last"
            )
            # So that the gradient of the outputs is known after them.
            loss = tf.reduce_sum(outputs**2)
        return tape.gradient(loss, (images, kernel))

    images = tf.ones((2, 8, 8, 8))
    nodes = optimized_nodes(gradients, images, tf.ones(kernel_shape))
    of_images = [
        node
        for node in nodes
        if node.op in (again, f"_MklNative{again}")
        and node.input[0].split(":")[0].startswith("images")
    ]
    # The second one waits for the gradient of the outputs, or its sizes do.
    inputs = {node.name: list(node.input) for node in nodes}
    waits = [
        any(x[0] == "^" for x in (*node.input, *inputs.get(node.input[-1], ())))
        for node in of_images
    ]
    assert sorted(waits) == [False, True]
