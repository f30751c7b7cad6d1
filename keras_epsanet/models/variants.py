"""The four networks of the paper, called like those of keras.applications."""

from keras_epsanet.models.epsanet import EPSANet
from keras_epsanet.paper import TABLE_2

_SMALL = {
    "stackwise_num_filters": (64, 128, 256, 512),
    "kernel_sizes": (3, 5, 7, 9),
    "groups": (1, 4, 8, 16),
    "expansion": 4,
}
# The text of the paper gives Large the kernels (3, 5, 7, 9). The figures in
# its tables need kernels whose squares sum to 108 instead of 164.
_LARGE = {
    "stackwise_num_filters": (128, 256, 512, 1024),
    "kernel_sizes": (3, 5, 5, 7),
    "groups": (32, 32, 32, 32),
    "expansion": 2,
}
# Section 3.4 and table 1 of the paper.
MODEL_CONFIGS = {
    "epsanet50_small": {"stackwise_num_blocks": (3, 4, 6, 3), **_SMALL},
    "epsanet50_large": {"stackwise_num_blocks": (3, 4, 6, 3), **_LARGE},
    "epsanet101_small": {"stackwise_num_blocks": (3, 4, 23, 3), **_SMALL},
    "epsanet101_large": {"stackwise_num_blocks": (3, 4, 23, 3), **_LARGE},
}

# What all functions that build a network have.
COMMON_ARGUMENTS = """\
        input_tensor: Optional Keras tensor to use as the image input.
        input_shape: Optional shape of one image, such as `(224, 224, 3)`.
            Height and width are at least 32, or `None` for any. `None`
            means `(224, 224, 3)` with the classifier and
            `(None, None, 3)` without.
        pooling: `None`, `"avg"` or `"max"`: what follows the last feature
            map if `include_top=False`.
        classes: Integer, number of classes of the classifier.
        classifier_activation: Activation of the classifier; `None` returns
            the logits. One class needs `"sigmoid"` or `None`.
        name: Name of the model.
        include_preprocessing: Whether the model normalizes its images
            itself: it takes RGB from 0 to 255 then, as
            `preprocess_input` does. Files of `weights` fit either way.
"""

DOC = """Builds {function}: {parameters:.2f} M parameters, {flops} GFLOPs.

    Args:
        include_top: Whether the classifier is included.
        weights: `None` (random initialization); `"resnext"`, for EPSANet
            Large, which then computes what ResNeXt 32x4d of its depth
            computes, trained on ImageNet-1k (downloaded once, its license
            is printed); or the path of a file: Keras' `.weights.h5` or
            `.keras`, or a checkpoint of the PyTorch implementation (`.pth`,
            `.pt`, `.pth.tar`, `.pkl`, `.safetensors`). A classifier in the
            file is left out if this model has none or has another number of
            classes. There is no `"imagenet"`: nobody has published such
            weights. `keras_epsanet.inherit_weights` starts from other
            ResNets.
{common}\
        **kwargs: Arguments of `EPSANet`, such as `groups=(4, 8, 16, 16)`,
            that replace those of this network.

    Returns:
        A functional `keras.Model` for images `(N, H, W, 3)` (channels-first
        `(N, 3, H, W)`), normalized by `preprocess_input` unless
        `include_preprocessing`. It returns
        `(N, classes)` with the classifier, `(N, 2048)` with `pooling`,
        otherwise the feature map `(N, ceil(H / 32), ceil(W / 32), 2048)`.

    Raises:
        ValueError: If an argument is out of range, or the file of `weights`
            is not one of this network.
        TypeError: If an argument is unknown.

    Example:

    >>> model = {function}(input_shape=(64, 64, 3), classes=10)
    >>> model.output_shape
    (None, 10)
    """


def EPSANet50Small(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="epsanet50_small",
    include_preprocessing=False,
    **kwargs,
):
    return EPSANet(
        include_top=include_top,
        weights=weights,
        input_tensor=input_tensor,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        name=name,
        include_preprocessing=include_preprocessing,
        **(MODEL_CONFIGS["epsanet50_small"] | kwargs),
    )


def EPSANet50Large(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="epsanet50_large",
    include_preprocessing=False,
    **kwargs,
):
    return EPSANet(
        include_top=include_top,
        weights=weights,
        input_tensor=input_tensor,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        name=name,
        include_preprocessing=include_preprocessing,
        **(MODEL_CONFIGS["epsanet50_large"] | kwargs),
    )


def EPSANet101Small(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="epsanet101_small",
    include_preprocessing=False,
    **kwargs,
):
    return EPSANet(
        include_top=include_top,
        weights=weights,
        input_tensor=input_tensor,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        name=name,
        include_preprocessing=include_preprocessing,
        **(MODEL_CONFIGS["epsanet101_small"] | kwargs),
    )


def EPSANet101Large(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="epsanet101_large",
    include_preprocessing=False,
    **kwargs,
):
    return EPSANet(
        include_top=include_top,
        weights=weights,
        input_tensor=input_tensor,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        name=name,
        include_preprocessing=include_preprocessing,
        **(MODEL_CONFIGS["epsanet101_large"] | kwargs),
    )


VARIANTS = {
    "epsanet50_small": EPSANet50Small,
    "epsanet50_large": EPSANet50Large,
    "epsanet101_small": EPSANet101Small,
    "epsanet101_large": EPSANet101Large,
}
for _name, _function in VARIANTS.items():
    _function.__doc__ = DOC.format(
        common=COMMON_ARGUMENTS,
        parameters=TABLE_2[_name].parameters,
        flops=TABLE_2[_name].flops,
        function=_function.__name__,
    )
