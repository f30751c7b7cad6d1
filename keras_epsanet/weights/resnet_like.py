"""A ResNet as a Keras model, made from an EPSANet of its depth and width."""

import keras

from keras_epsanet.layers import PSA
from keras_epsanet.weights.inherit_resnet import plan_resnet
from keras_epsanet.weights.layer_names import network_layers


def resnet_like(model, weights):
    """Makes the ResNet that a network inherits from, as a Keras model.

    With one scale the softmax over the scales is 1, and an EPSANet a ResNet.

    Args:
        model: An EPSANet or `EPSANetBackbone`, with layers in front of it
            and behind it or without. It is left as it is.
        weights: `ResNetWeights` of its depth and width.

    Returns:
        A functional `keras.Model` with the layers' names of `model`, which
        computes what the ResNet computes.

    Raises:
        ValueError: If the ResNet has another depth or width.
    """

    def clone(layer):
        if not isinstance(layer, PSA):
            return type(layer).from_config(layer.get_config())
        return PSA(
            layer.filters,
            kernel_sizes=(3,),
            groups=(weights.groups,),
            strides=layer.strides,
            data_format=layer.data_format,
            dtype=layer.dtype_policy,
            name=layer.name,
        )

    source = keras.models.clone_model(
        keras.Model(model.inputs, model.outputs), clone_function=clone
    )
    names = {layer.name for layer in network_layers(model).values()}
    for layer, copy in zip(model.layers, source.layers, strict=True):
        if layer.weights and layer.name not in names:
            # What stands in front of the network, as a `Normalization`.
            state = {}
            layer.save_own_variables(state)
            copy.load_own_variables(
                {k: keras.ops.convert_to_numpy(v) for k, v in state.items()}
            )
    for variable, array in plan_resnet(source, weights).assignments:
        variable.assign(array)
    return source
