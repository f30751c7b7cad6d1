"""ROIAlign: the features under boxes, resampled to one size.

[He et al., 2017](https://arxiv.org/abs/1703.06870), section 3, as torchvision
and MMDetection compute it with `aligned=True`. TensorFlow has a fast operation
for it (not under XLA, which a detector with it does without); for JAX and
PyTorch it is made of gathers. Both give the same values.
"""

import keras
from keras import ops

from keras_epsanet.detection import roi_align_gathers, roi_align_tensorflow

# MMDetection's `finest_scale`: the level is the floor of log2(side / 56), which
# gives the finest one all boxes of less than 112 pixels.
FINEST_SIDE = 56


def assign_levels(boxes, num_levels):
    """Chooses the level of a pyramid for every box.

    Args:
        boxes: Float tensor `(..., 4)`, corners in pixels of the image.
        num_levels: Integer.

    Returns:
        Int32 tensor `(...)`: floor(log2(sqrt(area) / 56)), from 0 for the
        finest level to `num_levels - 1`.

    Example:

    >>> boxes = ops.array([[0.0, 0, 111, 111], [0, 0, 112, 112]])
    >>> [int(level) for level in assign_levels(boxes, 4)]
    [0, 1]
    """
    sizes = ops.maximum(boxes[..., 2:] - boxes[..., :2], 0.0)
    side = ops.sqrt(sizes[..., 0] * sizes[..., 1])
    # The millionth is MMDetection's.
    level = ops.floor(ops.log2(side / FINEST_SIDE + 1e-6))
    return ops.cast(ops.clip(level, 0, num_levels - 1), "int32")


def pyramid_roi_align(
    levels, strides, boxes, output_size, sampling_ratio=2, portable=False
):
    """Resamples the features under boxes, each from the level of its size.

    Args:
        levels: List of float tensors `(N, H, W, C)`, the finest first.
        strides: List of integers, pixels of the image in one of each level.
        boxes: Float tensor `(N, boxes, 4)`, corners in pixels of the image.
        output_size: Integer, height and width of the result.
        sampling_ratio: As in `roi_align`.
        portable: Whether TensorFlow gathers too, as the other backends do,
            for a runtime that lacks its operation.

    Returns:
        Tensor `(N, boxes, output_size, output_size, C)`. Boxes have no
        gradient.
    """
    batch, number = ops.shape(boxes)[:2]
    boxes = ops.stop_gradient(ops.cast(boxes, "float32"))
    chosen = ops.reshape(assign_levels(boxes, len(levels)), (-1,))
    images = ops.repeat(ops.arange(batch, dtype="int32"), number)
    flat = ops.reshape(boxes, (-1, 4))
    align = (
        roi_align_tensorflow.align_pyramid
        if keras.backend.backend() == "tensorflow" and not portable
        else _align_by_gathers
    )
    aligned = align(
        levels, strides, flat, images, chosen, output_size, sampling_ratio
    )
    channels = levels[0].shape[-1]
    return ops.reshape(
        aligned, (batch, number, output_size, output_size, channels)
    )


def roi_align(features, boxes, images, output_size, scale=1, sampling_ratio=2):
    """Resamples the features under boxes.

    The box is divided into `output_size` x `output_size` bins; a value of the
    result is the mean of bilinear samples at a regular grid in its bin. The
    middle of the first pixel of the features is at 0.5, and samples more than
    a pixel outside of the features are 0.

    Args:
        features: Tensor `(N, H, W, C)`.
        boxes: Float tensor `(boxes, 4)`, corners. Without an area the result
            is the same sample in all bins.
        images: Int32 tensor `(boxes,)`, numbers of the features' images.
        output_size: Integer, height and width of the result.
        scale: Number, pixels of the features in a unit of the boxes.
        sampling_ratio: Integer, samples along each side of a bin; 0 takes
            ceil(side of the box / output_size), as MMDetection does, which
            differs for every box (on TensorFlow not under XLA).

    Returns:
        Tensor `(boxes, output_size, output_size, C)`.

    Raises:
        ValueError: If `sampling_ratio` is negative.

    Example:

    >>> features = ops.reshape(ops.arange(16, dtype="float32"), (1, 4, 4, 1))
    >>> boxes = ops.array([[0.0, 0, 4, 4]])
    >>> aligned = roi_align(features, boxes, ops.array([0]), output_size=2)
    >>> [float(x) for x in ops.reshape(aligned, (-1,))]
    [2.5, 4.5, 10.5, 12.5]
    """
    if sampling_ratio < 0:
        raise ValueError(
            "`sampling_ratio` must not be negative. "
            f"Received: sampling_ratio={sampling_ratio}"
        )
    boxes = ops.stop_gradient(ops.cast(boxes, "float32")) * scale
    images = ops.cast(images, "int32")
    if keras.backend.backend() == "tensorflow":
        return roi_align_tensorflow.align(
            features, boxes, images, output_size, sampling_ratio
        )
    zeros = ops.zeros_like(images)
    return _align_by_gathers(
        [features], [1], boxes, images, zeros, output_size, sampling_ratio
    )


def _align_by_gathers(
    levels, strides, boxes, images, chosen, output_size, sampling_ratio
):
    rows, places = roi_align_gathers.locate(
        levels, strides, boxes, images, chosen
    )
    if sampling_ratio:
        ratios = sampling_ratio, sampling_ratio
        return roi_align_gathers.align(rows, places, output_size, ratios)
    if keras.backend.backend() == "jax":
        from keras_epsanet.detection import roi_align_jax

        return roi_align_jax.align(rows, places, output_size)
    return roi_align_gathers.align_by_ratios(rows, places, output_size)
