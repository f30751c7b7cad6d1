"""Dense stages that start as PyTorch's."""

import keras


def make_dense(layer, name, part, inputs, units, **arguments):
    """Returns a built dense sublayer, for an attribute of a layer.

    Kernel and bias are uniform within one divided by the square root of
    `inputs`, unless the layer or the arguments say something else.

    Args:
        layer: `CompositeLayer` that the new one is a part of.
        name: String, its name.
        part: Integer, different for every kernel of the layer.
        inputs: Integer, number of input channels.
        units: Integer, number of output channels.
        **arguments: Other arguments of `keras.layers.Dense`.
    """
    bound = inputs**-0.5
    default = arguments.pop("kernel_initializer", fan_in_uniform())
    arguments.setdefault(
        "bias_initializer", keras.initializers.RandomUniform(-bound, bound)
    )
    dense = layer.make_sublayer(
        keras.layers.Dense,
        name,
        units=units,
        **layer.kernel_arguments(part, default=default),
        **arguments,
    )
    lora_alpha = dense.lora_alpha
    dense.build((None, inputs))
    dense.lora_alpha = lora_alpha  # Keras loses it when it builds.
    return dense


def fan_in_uniform():
    """Returns a new initializer: uniform within one by the root of inputs.

    It is PyTorch's own for convolutions and dense layers.
    """
    return keras.initializers.VarianceScaling(
        1 / 3, mode="fan_in", distribution="uniform"
    )
