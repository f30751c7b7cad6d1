"""A function of images and weights, compiled to be timed."""

import keras


def compile_steps(function, images, weights, upstream, jit=False):
    """Returns functions that compute and wait: forward, and with gradients.

    Args:
        function: Function of images and weights.
        images, upstream: Tensors; the last is the gradient of the outputs.
        weights: Tensor, or list of them.
        jit: Whether TensorFlow compiles with XLA, PyTorch with its own
            compiler. JAX always does with XLA.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        from keras_epsanet.ops.steps_jax import compile_steps as compiled

        return compiled(function, images, weights, upstream)
    if backend == "tensorflow":
        from keras_epsanet.ops.steps_tensorflow import compile_steps as compiled
    else:
        from keras_epsanet.ops.steps_torch import compile_steps as compiled
    return compiled(function, images, weights, upstream, jit)
