"""ResNet with any attention: the frame that the paper compares them in.

He et al., "Deep Residual Learning for Image Recognition", 2015,
https://arxiv.org/abs/1512.03385, with the strides in the 3×3 convolutions.
"""

import functools
import inspect

import keras

from keras_epsanet.models.arguments import (
    check_frame,
    check_head,
    check_prefix,
    check_stages,
    image_input,
    refuse_unknown,
)
from keras_epsanet.models.blocks import (
    apply_branch,
    apply_classifier,
    apply_pooling,
    apply_stack,
    apply_stem,
)
from keras_epsanet.models.named_attention import resolve_attention
from keras_epsanet.models.parts import Parts
from keras_epsanet.models.preprocessing import rescale
from keras_epsanet.weights.load import check_weights, load_weights


def ResNet(
    stackwise_num_blocks,
    stackwise_num_filters,
    attention=None,
    synchronized=False,
    *,
    expansion=4,
    norm_eval=False,
    stem_filters=(64,),
    stem_pool=True,
    downsampling="convolution",
    branch_output=False,
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    data_format=None,
    dtype=None,
    name="resnet",
    prefix="",
    include_preprocessing=False,
    **kwargs,
):
    """Builds a ResNet of any depth and width with any attention.

    Args:
        stackwise_num_blocks: Integers, blocks of every stage.
        stackwise_num_filters: Integers, channels of the 3×3 convolutions of
            every stage. A stage's output has `expansion` times as many.
        attention: As in `ResNet50`.
        synchronized: Whether BatchNorm takes its statistics over all
            replicas (TensorFlow only).
        expansion: Number, output channels of a block per channel of its 3×3
            convolution.
        norm_eval: Whether BatchNorm uses its moving statistics in training
            too, as detectors do; scale and shift still train.
        stem_filters: Integers: of one 7×7 convolution, or of several 3×3
            convolutions.
        stem_pool: Whether a max pooling follows the stem; otherwise the
            first stage has strides of 2.
        downsampling: What has the strides of a stage: `"convolution"`, the
            3×3 convolution of its first block and the 1×1 convolution of the
            shortcut; `"max"`, instead of the latter a max pooling in front
            of it; `"average"`, average poolings in front of that one and
            behind the 3×3 convolution.
        branch_output: Whether the network returns the logits of an
            `AttentionBranch` too, to be trained with a loss of their own.
        include_top, weights, input_tensor, input_shape: As in `ResNet50`.
        pooling, classes, classifier_activation, name: As there.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        dtype: Dtype policy of the model and of every layer; `None` means
            the global one.
        prefix: String in front of the names of all layers, so that the
            layers of two networks can stand in one model. Files of weights
            fit whatever it is.
        include_preprocessing: As in `ResNet50`.
        **kwargs: Not used; an unknown argument is an error that names the
            one that may be meant.

    Returns:
        A functional `keras.Model` for images `(N, H, W, C)` (channels-first
        `(N, C, H, W)`). It returns `(N, classes)` with the classifier,
        `(N, F)` with `pooling`, otherwise the feature map of the last stage,
        `(N, H', W', F)`, with `F = expansion * stackwise_num_filters[-1]`
        and `H' = ceil(H / 2 ** (stages + 1))`; with `branch_output` a list
        of that and of the logits of the branch, `(N, classes)`.

    Raises:
        ValueError: If an argument is out of range, the attention does not
            fit the network, or the file of `weights` is not one of it.
        TypeError: If an argument is unknown.

    Example:

    >>> model = ResNet(
    ...     stackwise_num_blocks=(1, 1),
    ...     stackwise_num_filters=(16, 32),
    ...     attention="eca",
    ...     input_shape=(32, 32, 1),
    ...     classes=10,
    ... )
    >>> model.output_shape
    (None, 10)
    """
    refuse_unknown("ResNet", kwargs, inspect.signature(ResNet).parameters)
    check_weights(weights)
    blocks, filters = check_stages(stackwise_num_blocks, stackwise_num_filters)
    classes = check_head(include_top, pooling, classes)
    check_prefix(prefix)
    attention = resolve_attention(attention)
    check_frame(stem_filters, downsampling, branch_output, attention)
    data_format = data_format or keras.config.image_data_format()
    image = image_input(
        input_tensor, input_shape, include_top, data_format, dtype
    )
    parts = Parts(
        prefix,
        dtype,
        data_format,
        synchronized,
        norm_eval,
        downsampling,
        attention,
        blocks,
        classes,
    )
    x = image
    if include_preprocessing:
        x = rescale(image, data_format, dtype, f"{prefix}rescaling")
    x = apply_stem(x, parts, stem_filters, stem_pool)
    x, branch = _apply_stages(
        x, parts, filters, expansion, 1 if stem_pool else 2
    )
    x = apply_pooling(x, parts, "avg" if include_top else pooling)
    if include_top:
        x = apply_classifier(x, parts, classifier_activation)
    if weights is not None:
        build_like = functools.partial(
            ResNet,
            stackwise_num_blocks,
            stackwise_num_filters,
            attention,
            expansion=expansion,
            stem_filters=stem_filters,
            stem_pool=stem_pool,
            downsampling=downsampling,
            input_shape=image.shape[1:],
            classes=classes,
            data_format=data_format,
            dtype=dtype,
        )
        load_weights(keras.Model(image, x), weights, build_like)
    outputs = [x, branch] if branch_output else x
    return _make_model(image, outputs, input_tensor, name, dtype)


def _apply_stages(x, parts, stackwise_num_filters, expansion, first_strides):
    """Returns the last stage's output, and the logits of a branch or None."""
    branch, last = None, len(stackwise_num_filters)
    for stage, filters in enumerate(stackwise_num_filters, start=1):
        output_filters = round(expansion * filters)
        name = f"{parts.prefix}conv{stage + 1}"
        attention = parts.attention
        if stage == last and attention and attention.slot == "branch":
            x, branch = apply_branch(x, parts, filters, output_filters, name)
        x = apply_stack(
            x,
            parts,
            stage,
            filters,
            output_filters,
            strides=first_strides if stage == 1 else 2,
            name=name,
        )
    return x, branch


def _make_model(image, outputs, input_tensor, name, dtype):
    inputs = image
    if input_tensor is not None:
        inputs = keras.utils.get_source_inputs(input_tensor)
        inputs = inputs[0] if len(inputs) == 1 else inputs
    model = keras.Model(inputs, outputs, name=name)
    if dtype is not None:
        model.dtype_policy = dtype
    return model
