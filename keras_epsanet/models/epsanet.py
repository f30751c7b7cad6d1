"""EPSANet: a ResNet with pyramid split attention for its 3×3 convolutions.

Zhang et al., "EPSANet: An Efficient Pyramid Split Attention Block on
Convolutional Neural Network", 2021, https://arxiv.org/abs/2105.14447.
"""

import functools
import inspect
from collections.abc import Callable
from typing import NamedTuple

import keras

from keras_epsanet.layers import PSA, BatchNormalization, GroupedConv2D
from keras_epsanet.models.arguments import (
    check_head,
    check_prefix,
    check_stages,
    image_input,
    refuse_unknown,
)
from keras_epsanet.models.preprocessing import rescale
from keras_epsanet.weights.load import check_weights, load_weights

STEM_FILTERS = 64


class _Layers(NamedTuple):
    """Constructors of the layers, with what all blocks have in common."""

    prefix: str
    channel_axis: int
    convolution: Callable
    normalization: Callable
    psa: Callable
    relu: Callable
    add: Callable
    of_image: dict  # Arguments of all other layers.


def apply_epsa_block(x, layers, filters, output_filters, strides, name):
    """EPSA block (figure 5): 1×1 convolution, PSA, 1×1 convolution, shortcut.

    Args:
        x: Keras tensor.
        layers: Constructors of the layers.
        filters: Integer, channels of the first convolution and of PSA.
        output_filters: Integer, channels of the block's output.
        strides: Integer, strides of PSA and of the shortcut.
        name: Prefix of the layer names.

    Returns:
        Keras tensor, the output of the block.
    """
    shortcut = x
    if strides != 1 or x.shape[layers.channel_axis] != output_filters:
        shortcut = layers.convolution(
            output_filters, 1, strides=strides, name=f"{name}_0_conv"
        )(x)
        shortcut = layers.normalization(name=f"{name}_0_bn")(shortcut)

    x = layers.convolution(filters, 1, name=f"{name}_1_conv")(x)
    x = layers.normalization(name=f"{name}_1_bn")(x)
    x = layers.relu(name=f"{name}_1_relu")(x)

    x = layers.psa(filters, strides=strides, name=f"{name}_psa")(x)
    x = layers.normalization(name=f"{name}_2_bn")(x)
    x = layers.relu(name=f"{name}_2_relu")(x)

    x = layers.convolution(output_filters, 1, name=f"{name}_3_conv")(x)
    x = layers.normalization(name=f"{name}_3_bn")(x)

    x = layers.add(name=f"{name}_add")([shortcut, x])
    return layers.relu(name=f"{name}_out")(x)


def apply_stack(x, layers, num_blocks, filters, output_filters, strides, name):
    """Stage of `num_blocks` EPSA blocks, the first of them with `strides`."""
    for i in range(num_blocks):
        x = apply_epsa_block(
            x,
            layers,
            filters,
            output_filters,
            strides=strides if i == 0 else 1,
            name=f"{name}_block{i + 1}",
        )
    return x


def EPSANet(
    stackwise_num_blocks,
    stackwise_num_filters,
    kernel_sizes,
    groups,
    reduction=16,
    split_input=False,
    synchronized=False,
    *,
    expansion=4,
    norm_eval=False,
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    data_format=None,
    dtype=None,
    name="epsanet",
    prefix="",
    include_preprocessing=False,
    **kwargs,
):
    """Builds an EPSANet of any depth, width and pyramid.

    Args:
        stackwise_num_blocks: Integers, blocks of every stage.
        stackwise_num_filters: Integers, channels of the PSA modules of every
            stage. A stage's output has `expansion` times as many.
        kernel_sizes: Odd integers, kernel size of every scale, in pixels.
        groups: Integers, groups of every scale; `None` means equation 3.
        reduction: Integer, reduction of `SEWeight`.
        split_input: Whether each scale sees its part of the channels only
            (equation 4 as printed).
        synchronized: Whether BatchNorm takes its statistics over all
            replicas (TensorFlow only).
        expansion: Integer, output channels of a block per channel of its
            PSA module.
        norm_eval: Whether BatchNorm uses its moving statistics in training
            too, as detectors do; scale and shift still train.
        include_top, weights, input_tensor, input_shape: As in
            `EPSANet50Small`.
        pooling, classes, classifier_activation, name: As there.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        dtype: Dtype policy of the model and of every layer; `None` means
            the global one.
        prefix: String in front of the names of all layers, so that the
            layers of two networks can stand in one model. Files of weights
            fit whatever it is.
        include_preprocessing: As in `EPSANet50Small`.
        **kwargs: Not used; an unknown argument is an error that names the
            one that may be meant.

    Returns:
        A functional `keras.Model` for images `(N, H, W, C)` (channels-first
        `(N, C, H, W)`). It returns `(N, classes)` with the classifier,
        `(N, F)` with `pooling`, otherwise the feature map of the last stage,
        `(N, H', W', F)`, with `F = expansion * stackwise_num_filters[-1]`
        and `H' = ceil(H / 2 ** (stages + 1))`.

    Raises:
        ValueError: If an argument is out of range, or the file of `weights`
            is not one of this network.
        TypeError: If an argument is unknown.

    Example:

    >>> model = EPSANet(
    ...     stackwise_num_blocks=(1, 1),
    ...     stackwise_num_filters=(64, 128),
    ...     kernel_sizes=(3, 5),
    ...     groups=(1, 4),
    ...     input_shape=(32, 32, 1),
    ...     classes=10,
    ... )
    >>> model.output_shape
    (None, 10)
    """
    refuse_unknown("EPSANet", kwargs, inspect.signature(EPSANet).parameters)
    check_weights(weights)
    check_stages(stackwise_num_blocks, stackwise_num_filters)
    check_head(include_top, pooling, classes)
    check_prefix(prefix)
    data_format = data_format or keras.config.image_data_format()
    image = image_input(
        input_tensor, input_shape, include_top, data_format, dtype
    )
    pyramid = {
        "kernel_sizes": kernel_sizes,
        "groups": groups,
        "reduction": reduction,
        "split_input": split_input,
    }
    layers = _make_layers(
        prefix, data_format, dtype, pyramid, synchronized, norm_eval
    )
    x = image
    if include_preprocessing:
        x = rescale(image, data_format, dtype, f"{prefix}rescaling")
    x = _apply_stem(x, layers)
    stages = zip(stackwise_num_blocks, stackwise_num_filters)
    for stage, (blocks, filters) in enumerate(stages, start=2):
        x = apply_stack(
            x,
            layers,
            blocks,
            filters,
            expansion * filters,
            strides=1 if stage == 2 else 2,
            name=f"{prefix}conv{stage}",
        )
    x = _apply_pooling(x, layers, "avg" if include_top else pooling)
    if include_top:
        x = _apply_classifier(x, layers, classes, classifier_activation, dtype)

    if weights is not None:
        build_like = functools.partial(
            EPSANet,
            stackwise_num_blocks,
            stackwise_num_filters,
            expansion=expansion,
            input_shape=image.shape[1:],
            data_format=data_format,
            dtype=dtype,
            **pyramid,
        )
        load_weights(keras.Model(image, x), weights, build_like)
    return _make_model(image, x, input_tensor, name, dtype)


def _make_model(image, outputs, input_tensor, name, dtype):
    inputs = image
    if input_tensor is not None:
        inputs = keras.utils.get_source_inputs(input_tensor)
        inputs = inputs[0] if len(inputs) == 1 else inputs
    model = keras.Model(inputs, outputs, name=name)
    if dtype is not None:
        model.dtype_policy = dtype
    return model


def _make_layers(prefix, data_format, dtype, pyramid, synchronized, norm_eval):
    channel_axis = -1 if data_format == "channels_last" else 1
    of_image = {"data_format": data_format, "dtype": dtype}
    return _Layers(
        prefix=prefix,
        channel_axis=channel_axis,
        convolution=functools.partial(GroupedConv2D, **of_image),
        normalization=functools.partial(
            BatchNormalization,
            axis=channel_axis,
            synchronized=synchronized,
            norm_eval=norm_eval,
            dtype=dtype,
        ),
        psa=functools.partial(PSA, **pyramid, **of_image),
        relu=functools.partial(keras.layers.Activation, "relu", dtype=dtype),
        add=functools.partial(keras.layers.Add, dtype=dtype),
        of_image=of_image,
    )


def _apply_stem(x, layers):
    prefix = layers.prefix
    x = layers.convolution(
        STEM_FILTERS, 7, strides=2, name=f"{prefix}conv1_conv"
    )(x)
    x = layers.normalization(name=f"{prefix}conv1_bn")(x)
    x = layers.relu(name=f"{prefix}conv1_relu")(x)
    # After a ReLU zeros pad as well as PyTorch's -inf.
    x = keras.layers.ZeroPadding2D(
        1, name=f"{prefix}pool1_pad", **layers.of_image
    )(x)
    return keras.layers.MaxPooling2D(
        3, 2, name=f"{prefix}pool1_pool", **layers.of_image
    )(x)


def _apply_pooling(x, layers, pooling):
    if pooling is None:
        return x
    pool = {
        "avg": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
    }[pooling]
    name = f"{layers.prefix}{pooling}_pool"
    return pool(name=name, **layers.of_image)(x)


def _apply_classifier(x, layers, classes, activation, dtype):
    # PyTorch's defaults for a linear layer: uniform within 1/sqrt(fan_in).
    bound = x.shape[-1] ** -0.5
    return keras.layers.Dense(
        classes,
        activation=activation,
        kernel_initializer=keras.initializers.RandomUniform(-bound, bound),
        bias_initializer=keras.initializers.RandomUniform(-bound, bound),
        name=f"{layers.prefix}predictions",
        dtype=dtype,
    )(x)
