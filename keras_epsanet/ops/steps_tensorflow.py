"""A convolution compiled on TensorFlow, to be timed."""

import tensorflow as tf


def compile_steps(convolve, image, kernel, upstream):
    """Returns functions that compute and wait: forward, and with gradients.

    Args:
        convolve: Function of an image and a kernel.
        image, kernel, upstream: Arrays; the last is the gradient of the
            outputs.
    """
    operands = tf.constant(image), tf.constant(kernel)
    upstream = tf.constant(upstream)

    @tf.function(autograph=False, jit_compile=False)
    def gradients(operands, upstream):
        with tf.GradientTape() as tape:
            tape.watch(operands)
            outputs = convolve(*operands)
        return tape.gradient(outputs, operands, upstream)

    forward = tf.function(convolve, autograph=False, jit_compile=False)
    # Traced here, for TensorFlow warns of functions of one name in a loop.
    forward = forward.get_concrete_function(*operands)
    gradients = gradients.get_concrete_function(operands, upstream)
    # A number of the result is waited for.
    return (
        lambda: forward(*operands)[0, 0, 0, 0].numpy(),
        lambda: [x[0, 0, 0, 0].numpy() for x in gradients(operands, upstream)],
    )
