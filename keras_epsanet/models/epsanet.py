"""EPSANet: a ResNet with pyramid split attention for its 3×3 convolutions.

Zhang et al., "EPSANet: An Efficient Pyramid Split Attention Block on
Convolutional Neural Network", 2021, https://arxiv.org/abs/2105.14447.
"""

import inspect

from keras_epsanet.layers import PSA
from keras_epsanet.models.arguments import refuse_unknown
from keras_epsanet.models.attention_slot import NamedSlot
from keras_epsanet.models.resnet import ResNet


def EPSANet(
    stackwise_num_blocks,
    stackwise_num_filters,
    kernel_sizes,
    groups,
    reduction=16,
    split_input=False,
    synchronized=False,
    *,
    layout=None,
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
        layout: Layout in which the convolutions of the PSA modules are
            computed, as in `PSA`.
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
    return ResNet(
        stackwise_num_blocks,
        stackwise_num_filters,
        pyramid_attention(kernel_sizes, groups, reduction, split_input, layout),
        synchronized,
        expansion=expansion,
        norm_eval=norm_eval,
        include_top=include_top,
        weights=weights,
        input_tensor=input_tensor,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        data_format=data_format,
        dtype=dtype,
        name=name,
        prefix=prefix,
        include_preprocessing=include_preprocessing,
    )


def pyramid_attention(
    kernel_sizes, groups, reduction=16, split_input=False, layout=None
):
    """Returns what `ResNet(attention=…)` takes for PSA with these arguments.

    Args:
        kernel_sizes, groups, reduction, split_input, layout: As in `EPSANet`.
    """

    def make(place):
        return PSA(
            place.channels,
            kernel_sizes,
            groups,
            reduction=reduction,
            split_input=split_input,
            layout=layout,
        )

    return NamedSlot(make, "convolution", name="psa")
