"""Crops of JPEG images as torchvision makes them, in TensorFlow's graph.

The resizing is that of `PIL.Image.resize` with BILINEAR, a triangle that
widens with the reduction. PIL rounds to 8 bits between the two directions
too, which makes differences of 1.
"""

import math

# torchvision.transforms.RandomResizedCrop.
AREA = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)
ATTEMPTS = 10
# An area and a ratio for each attempt, the two offsets, the flip.
NUM_UNIFORMS = 2 * ATTEMPTS + 3


def random_crop(encoded, uniforms, size):
    """A random part of a JPEG image, resized to a square.

    torchvision's `RandomResizedCrop(size)` and `RandomHorizontalFlip()`. Only
    the part is decoded.

    Args:
        encoded: String tensor, the bytes of the JPEG file.
        uniforms: Tensor `(NUM_UNIFORMS,)` of random numbers in [0, 1), which
            decide everything.
        size: Integer, height and width of the result in pixels.

    Returns:
        Tensor uint8 `(size, size, 3)`.
    """
    import tensorflow as tf

    box = random_box(tf.io.extract_jpeg_shape(encoded), uniforms)
    image = tf.image.decode_and_crop_jpeg(
        encoded, box, channels=3, dct_method="INTEGER_ACCURATE"
    )
    image = tf.cond(
        tf.reduce_max(box[2:]) <= size,
        lambda: _enlarge(image, size),
        lambda: _resize(image, size, tf.cast(size / box[2:], "float32")),
    )
    # Along the second axis or along none, without another condition.
    flip = tf.cast(uniforms[-1] < 0.5, "int32")
    return tf.reverse(image, tf.range(1, 1 + flip))


def random_box(shape, uniforms):
    """The part that torchvision's `RandomResizedCrop.get_params` chooses.

    Args:
        shape: Integer tensor, height, width and channels of the image.
        uniforms: Tensor `(NUM_UNIFORMS,)` of random numbers in [0, 1).

    Returns:
        Tensor int32: top, left, height and width in pixels.
    """
    import tensorflow as tf

    image = tf.cast(shape[:2], "float32")
    areas = AREA[0] + (AREA[1] - AREA[0]) * uniforms[:ATTEMPTS]
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    ratios = low + (high - low) * uniforms[ATTEMPTS : 2 * ATTEMPTS]
    # Heights and widths.
    sizes = tf.sqrt(areas * tf.reduce_prod(image))[:, None]
    sizes *= tf.exp(ratios[:, None] * (-0.5, 0.5))
    # When none fits: the largest part in the middle of an allowed ratio.
    largest = tf.minimum(image, image[::-1] * (1 / RATIO[0], RATIO[1]))
    sizes = tf.round(tf.concat((sizes, largest[None]), axis=0))
    # A size of 0 is possible in an image of a pixel or two.
    fits = tf.reduce_all(sizes == tf.clip_by_value(sizes, 1, image), axis=1)
    first = tf.argmax(fits)
    size = sizes[first]
    rest = image - size
    offset = tf.where(
        first < ATTEMPTS, tf.floor(uniforms[-3:-1] * (rest + 1)), rest // 2
    )
    return tf.cast(tf.concat((offset, size), axis=0), "int32")


def centre_crop(encoded, shorter_side, size):
    """The middle of a JPEG image whose shorter side is resized.

    torchvision's `Resize(shorter_side)` and `CenterCrop(size)`.

    Args:
        encoded: String tensor, the bytes of the JPEG file.
        shorter_side: Integer, the shorter side after resizing, in pixels.
        size: Integer, height and width of the result, not more than
            `shorter_side`.

    Returns:
        Tensor uint8 `(size, size, 3)`.
    """
    import tensorflow as tf

    image = tf.io.decode_jpeg(
        encoded, channels=3, dct_method="INTEGER_ACCURATE"
    )
    shape = tf.shape(image)[:2]
    # Whole numbers, as in Python: a float32 could round to the next one.
    resized = shorter_side * shape // tf.reduce_min(shape)
    # torchvision's round() goes to the even number, as tf.round does.
    offsets = tf.round(tf.cast(resized - size, "float32") / 2)
    scale = tf.cast(resized / shape, "float32")
    return _resize(image, size, scale, offsets)


def _resize(image, size, scale, offsets=(0.0, 0.0)):
    """Scales an image and takes a square of the result."""
    import tensorflow as tf

    # TensorFlow's kernel is quick only along the first axis and when the rest
    # is long, which two transpositions of a matrix bring about: in all two
    # thirds of the time of tf.image.resize.
    height, width = tf.unstack(tf.shape(image)[:2])
    rows = tf.reshape(image, (height, width * 3))
    rows = _scale_rows(rows, size, scale[0], offsets[0])
    columns = tf.reshape(tf.transpose(rows), (width, 3 * size))
    columns = _scale_rows(columns, size, scale[1], offsets[1])
    # The half rounds, for the cast only cuts off.
    columns = tf.cast(columns + 0.5, "uint8")
    return tf.reshape(
        tf.transpose(tf.reshape(columns, (size * 3, size))), (size, size, 3)
    )


def _scale_rows(matrix, size, scale, offset):
    """Scales the number of rows and takes `size` of them from `offset` on."""
    import tensorflow as tf

    rows = tf.raw_ops.ScaleAndTranslate(
        images=matrix[None, :, None],
        size=(size, 1),
        scale=tf.stack((scale, 1.0)),
        translation=tf.stack((-offset, 0.0)),
        kernel_type="triangle",
        antialias=True,
    )
    return rows[0, :, 0]


def _enlarge(image, size):
    """The same for parts that are not larger than the result, but quicker."""
    import tensorflow as tf

    # The kernel is quick with float32 only.
    image = tf.raw_ops.ResizeBilinear(
        images=tf.cast(image, "float32")[None],
        size=(size, size),
        half_pixel_centers=True,
    )
    return tf.cast(image[0] + 0.5, "uint8")
