"""Feature pyramid network of detectors."""

import keras
from keras import ops

from keras_epsanet.layers import GroupedConv2D


@keras.saving.register_keras_serializable(package="keras_epsanet")
class AddUpsampled(keras.layers.Layer):
    """Adds a coarse map, doubled by repeating its pixels, to a fine one.

    Input shape:
        Pair: `(N, H, W, C)` and `(N, ceil(H / 2), ceil(W / 2), C)`.

    Output shape:
        `(N, H, W, C)`.
    """

    def call(self, inputs):
        fine, coarse = inputs
        height, width = ops.shape(fine)[1:3]
        coarse = ops.repeat(ops.repeat(coarse, 2, axis=1), 2, axis=2)
        return fine + coarse[:, :height, :width]

    def compute_output_shape(self, input_shape):
        return input_shape[0]


def find_features(backbone, levels):
    """Returns the backbone's Keras tensors by level, or a clear error."""
    features = getattr(backbone, "pyramid_outputs", {})
    if not set(levels) <= set(features):
        raise ValueError(
            f"`backbone` must have `pyramid_outputs` for {', '.join(levels)}. "
            f"Received: {', '.join(features) or 'none'} of {backbone}"
        )
    if backbone.input_shape[-1] != 3:
        raise ValueError(
            "`backbone` must have its channels last. "
            f"Received: input_shape={backbone.input_shape}"
        )
    return {level: features[level] for level in levels}


def apply_feature_pyramid(features, finest, coarsest, pooled, filters=256):
    """Makes levels of the same number of channels out of a backbone's.

    [Lin et al., 2017](https://arxiv.org/abs/1612.03144), as MMDetection
    builds it: 1×1 convolutions, addition from coarse to fine, a 3×3
    convolution on each sum.

    Args:
        features: Dictionary from `"P2"` … `"P5"` to the Keras tensors of a
            backbone.
        finest, coarsest: Integers, the first and the last level of the
            result; `"P5"` is the coarsest that takes part in the additions.
        pooled: Whether coarser levels than `"P5"` are every other pixel of
            the one before (the R-CNNs) or 3×3 convolutions with strides of 2,
            the first on the backbone's `"P5"` (RetinaNet).
        filters: Integer, channels of every level.

    Returns:
        Dictionary from the names of the levels to Keras tensors, the finest
        first.
    """
    inner = range(finest, 6)
    sums = {
        level: _convolve(filters, 1, f"fpn_lateral_P{level}")(
            features[f"P{level}"]
        )
        for level in inner
    }
    for level in reversed(inner[:-1]):
        sums[level] = AddUpsampled(name=f"fpn_add_P{level}")(
            [sums[level], sums[level + 1]]
        )
    outputs = {
        f"P{level}": _convolve(filters, 3, f"fpn_output_P{level}")(x)
        for level, x in sums.items()
    }
    x = outputs["P5"] if pooled else features["P5"]
    for level in range(6, coarsest + 1):
        name = f"fpn_output_P{level}"
        if pooled:
            x = x[:, ::2, ::2]
        else:
            x = _convolve(filters, 3, name, strides=2)(x)
        outputs[f"P{level}"] = x
    return outputs


def _convolve(filters, kernel_size, name, strides=1):
    return GroupedConv2D(
        filters,
        kernel_size,
        strides,
        use_bias=True,
        kernel_initializer="glorot_uniform",  # PyTorch's xavier_uniform_.
        name=name,
    )
