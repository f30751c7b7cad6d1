"""A function of images and weights compiled on TensorFlow, to be timed."""

import tensorflow as tf


def compile_steps(function, images, weights, upstream, jit=False):
    """Returns functions that compute and wait: forward, and with gradients.

    Args:
        function: Function of images and weights, such as a convolution.
        images, upstream: Arrays; the last is the gradient of the outputs.
        weights: Array, or list of them.
        jit: Whether XLA compiles it.
    """
    operands = tf.nest.map_structure(tf.constant, (images, weights))
    upstream = tf.constant(upstream)

    @tf.function(autograph=False, jit_compile=jit)
    def gradients(operands, upstream):
        with tf.GradientTape() as tape:
            tape.watch(operands)
            outputs = function(*operands)
        flat = tf.nest.flatten(operands)
        return tape.gradient(outputs, flat, upstream)

    forward = tf.function(function, autograph=False, jit_compile=jit)
    # Traced here, for TensorFlow warns of functions of one name in a loop.
    forward = forward.get_concrete_function(*operands)
    gradients = gradients.get_concrete_function(operands, upstream)
    run_forward = _waiting(forward, *operands)
    return run_forward, _waiting(gradients, operands, upstream)


def _waiting(function, *arguments):
    def run():
        results = function(*arguments)
        tf.test.experimental.sync_devices()  # A GPU may still compute.
        return results

    return run
