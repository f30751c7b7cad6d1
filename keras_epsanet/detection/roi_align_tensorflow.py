"""ROIAlign on TensorFlow: its bilinear crops, whose samples are averaged."""


def align_pyramid(
    levels, strides, boxes, images, chosen, output_size, sampling_ratio
):
    """Resamples the features under boxes, each from its level.

    Args:
        levels: List of tensors `(N, H, W, C)`.
        strides: List of integers, pixels of the image in one of each level.
        boxes: Float32 tensor `(boxes, 4)`, corners in pixels of the image.
        images: Int32 tensor `(boxes,)`, numbers of the features' images.
        chosen: Int32 tensor `(boxes,)`, numbers of the levels.
        output_size, sampling_ratio: As in `roi_align`.

    Returns:
        Tensor `(boxes, output_size, output_size, C)`.
    """
    import tensorflow as tf

    aligned, places = [], []
    for i, (level, stride) in enumerate(zip(levels, strides)):
        where = tf.where(chosen == i)[:, 0]
        aligned.append(
            align(
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


def align(features, boxes, images, output_size, sampling_ratio):
    """Resamples the features of one level under boxes.

    Args:
        features: Tensor `(N, H, W, C)`.
        boxes: Float32 tensor `(boxes, 4)`, corners in pixels of the features.
        images, output_size, sampling_ratio: As in `align_pyramid`.

    Returns:
        As `align_pyramid`.
    """
    import tensorflow as tf

    if features.dtype in (tf.bfloat16, tf.float16, tf.float64):
        # TensorFlow's crops are float32 of any features.
        return tf.cast(
            align(
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
