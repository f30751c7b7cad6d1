"""ROIAlign: the features under boxes, resampled to one size.

[He et al., 2017](https://arxiv.org/abs/1703.06870), section 3, as torchvision
and MMDetection compute it with `aligned=True`. TensorFlow has a fast operation
for it (not under XLA, which a detector with it does without); for JAX and
PyTorch it is made of gathers. Both give the same values.
"""

import keras
from keras import ops

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
        _align_pyramid_by_crops
        if keras.backend.backend() == "tensorflow" and not portable
        else _align_pyramid_by_gathers
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
            differs for every box and works on TensorFlow, without XLA, alone.

    Returns:
        Tensor `(boxes, output_size, output_size, C)`.

    Raises:
        ValueError: If `sampling_ratio` is negative, or 0 on another backend
            than TensorFlow.

    Example:

    >>> features = ops.reshape(ops.arange(16, dtype="float32"), (1, 4, 4, 1))
    >>> boxes = ops.array([[0.0, 0, 4, 4]])
    >>> aligned = roi_align(features, boxes, ops.array([0]), output_size=2)
    >>> [float(x) for x in ops.reshape(aligned, (-1,))]
    [2.5, 4.5, 10.5, 12.5]
    """
    boxes = ops.stop_gradient(ops.cast(boxes, "float32")) * scale
    images = ops.cast(images, "int32")
    if keras.backend.backend() == "tensorflow":
        return _align_by_crops(
            features, boxes, images, output_size, sampling_ratio
        )
    zeros = ops.zeros_like(images)
    return _align_pyramid_by_gathers(
        [features], [1], boxes, images, zeros, output_size, sampling_ratio
    )


def _check_ratio(sampling_ratio):
    other = keras.backend.backend() != "tensorflow"
    if sampling_ratio < 0 or (other and sampling_ratio == 0):
        raise ValueError(
            "`sampling_ratio` must be positive, or 0 on TensorFlow. "
            f"Received: sampling_ratio={sampling_ratio}"
        )


def _align_pyramid_by_crops(
    levels, strides, boxes, images, chosen, output_size, sampling_ratio
):
    import tensorflow as tf

    aligned, places = [], []
    for i, (level, stride) in enumerate(zip(levels, strides)):
        where = tf.where(chosen == i)[:, 0]
        aligned.append(
            _align_by_crops(
                level,
                tf.gather(boxes, where) / stride,
                tf.gather(images, where),
                output_size,
                sampling_ratio,
            )
        )
        places.append(where)
    order = tf.argsort(tf.concat(places, axis=0))
    return tf.gather(tf.concat(aligned, axis=0), order)


def _align_by_crops(features, boxes, images, output_size, sampling_ratio):
    """TensorFlow's bilinear crops, whose samples are then averaged."""
    import tensorflow as tf

    _check_ratio(sampling_ratio)
    if features.dtype in (tf.bfloat16, tf.float16, tf.float64):
        # TensorFlow's crops are float32 of any features.
        return tf.cast(
            _align_by_crops(
                tf.cast(features, tf.float32),
                boxes,
                images,
                output_size,
                sampling_ratio,
            ),
            features.dtype,
        )
    # One pixel outside of the features has the value of their border.
    padded = tf.pad(features, [(0, 0), (1, 1), (1, 1), (0, 0)], "SYMMETRIC")
    if sampling_ratio:
        samples = output_size * sampling_ratio
        crops = _crop(padded, boxes, images, samples, samples)
        return tf.nn.avg_pool2d(crops, sampling_ratio, sampling_ratio, "VALID")
    return _average_all_pixels(padded, boxes, images, output_size)


def _average_all_pixels(padded, boxes, images, output_size):
    """Means of as many samples as there are pixels in a part of a box."""
    import tensorflow as tf

    # Boxes with the same numbers of samples at once.
    sides = tf.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
    ratios = tf.cast(tf.math.ceil(sides / output_size), tf.int32)
    ratios = tf.maximum(ratios, 1)  # Boxes without a width or height.
    keys = ratios[:, 1] * (tf.reduce_max(ratios[:, 0]) + 1) + ratios[:, 0]
    kinds = tf.unique(keys).y
    shape = (output_size, output_size, padded.shape[-1])
    aligned = tf.zeros((tf.shape(boxes)[0], *shape), tf.float32)

    def add_kind(i, aligned):
        where = tf.where(keys == kinds[i])
        rows = where[:, 0]
        ratio = ratios[rows[0]]
        crops = _crop(
            padded,
            tf.gather(boxes, rows),
            tf.gather(images, rows),
            output_size * ratio[1],
            output_size * ratio[0],
        )
        bins = tf.reshape(
            crops,
            (-1, output_size, ratio[1], output_size, ratio[0], shape[-1]),
        )
        values = tf.reduce_mean(bins, axis=(2, 4))
        return i + 1, tf.tensor_scatter_nd_add(aligned, where, values)

    _, aligned = tf.while_loop(
        lambda i, aligned: i < tf.size(kinds), add_kind, (0, aligned)
    )
    return aligned


def _crop(padded, boxes, images, height, width):
    """`height` x `width` samples in the middles of equal parts of boxes."""
    import tensorflow as tf

    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    limits = tf.cast(tf.shape(padded)[1:3] - 1, tf.float32)
    corners = []
    for first, last, number, limit in (
        (y1, y2, height, limits[0]),
        (x1, x2, width, limits[1]),
    ):
        part = tf.maximum(last - first, 0.0) / tf.cast(number, tf.float32)
        # The middle of a pixel is at 0.5, and there is one more before.
        begin = first + 0.5 * part + 0.5
        end = begin + part * tf.cast(number - 1, tf.float32)
        corners.append((begin / limit, end / limit))
    (top, bottom), (left, right) = corners
    return tf.image.crop_and_resize(
        padded,
        tf.stack((top, left, bottom, right), axis=-1),
        images,
        tf.stack((height, width)),
    )


def _align_pyramid_by_gathers(
    levels, strides, boxes, images, chosen, output_size, sampling_ratio
):
    """The four neighbors of every sample, taken from all levels in a row."""
    _check_ratio(sampling_ratio)
    levels = [ops.convert_to_tensor(level) for level in levels]
    channels = levels[0].shape[-1]
    sizes = [ops.shape(level)[1:3] for level in levels]
    pixels = [height * width for height, width in sizes]
    batch = ops.shape(levels[0])[0]
    rows = ops.concatenate(
        [ops.reshape(level, (-1, channels)) for level in levels]
    )

    def of_level(values, dtype):
        return ops.take(ops.cast(ops.stack(values), dtype), chosen, axis=0)

    begins = [batch * sum(pixels[:i]) for i in range(len(levels))]
    heights, widths = (of_level(side, "float32") for side in zip(*sizes))
    row_length = of_level([width for _, width in sizes], "int32")
    first = of_level(begins, "int32") + images * of_level(pixels, "int32")
    boxes = boxes / of_level(strides, "float32")[:, None]
    x1, y1, x2, y2 = (boxes[:, i] for i in range(4))
    samples = output_size * sampling_ratio
    y = _corner_weights(y1, y2, heights, samples)
    x = _corner_weights(x1, x2, widths, samples)
    total = 0.0
    for y_index, y_weight in y:
        for x_index, x_weight in x:
            places = (
                first[:, None, None]
                + y_index[:, :, None] * row_length[:, None, None]
                + x_index[:, None, :]
            )
            weights = y_weight[:, :, None] * x_weight[:, None, :]
            weights = ops.cast(weights[..., None], rows.dtype)
            total = total + ops.take(rows, places, axis=0) * weights
    return ops.average_pool(
        total, sampling_ratio, sampling_ratio, data_format="channels_last"
    )


def _corner_weights(first, last, size, samples):
    """Both neighbors of the samples along one axis, and their weights."""
    part = ops.maximum(last - first, 0.0) / samples
    steps = ops.arange(samples, dtype="float32") + 0.5
    size = size[:, None]
    place = first[:, None] + steps * part[:, None] - 0.5
    inside = (place >= -1.0) & (place <= size)
    place = ops.clip(place, 0.0, size - 1)
    low = ops.floor(place)
    share = place - low
    high = ops.minimum(low + 1, size - 1)
    inside = ops.cast(inside, "float32")
    return (
        (ops.cast(low, "int32"), (1 - share) * inside),
        (ops.cast(high, "int32"), share * inside),
    )
