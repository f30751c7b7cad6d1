"""How the tests of this folder call a layer."""

import keras
import numpy as np

FORMATS = ("channels_last", "channels_first")


def convert(image, data_format):
    """Channels-last images in another data format."""
    return image if data_format == "channels_last" else np.moveaxis(image, 3, 1)


def revert(image, data_format):
    image = keras.ops.convert_to_numpy(image)
    return image if data_format == "channels_last" else np.moveaxis(image, 1, 3)


def compiled(layer, **arguments):
    """Function that calls a built layer, or a model.

    On JAX as one program, for each operation of its own takes its time.
    """
    if keras.backend.backend() != "jax":
        return lambda x: layer(keras.ops.convert_to_tensor(x), **arguments)
    import jax

    @jax.jit
    def call(values, x):
        mapping = list(zip(layer.variables, values))
        with keras.StatelessScope(mapping) as scope:
            outputs = layer(x, **arguments)
        return outputs, [scope.get_current_value(v) for v in layer.variables]

    def run(x):
        outputs, values = call([v.value for v in layer.variables], x)
        for variable, value in zip(layer.variables, values):
            if not variable.trainable:
                variable.assign(value)
        return outputs

    return run
