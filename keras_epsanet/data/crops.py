"""Crops of JPEG images as torchvision makes them, in TensorFlow's graph.

The resizing is that of `PIL.Image.resize` with BILINEAR: a triangle that
widens with the reduction, first along the width, then along the height, each
rounded to 8 bits. The differences from PIL are those of the last bit.
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
    scale = tf.cast(size / box[2:], "float32")
    return _resize(image, size, scale, (0, 0), uniforms[-1] < 0.5)


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
    area = AREA[0] + (AREA[1] - AREA[0]) * uniforms[:ATTEMPTS]
    area *= image[0] * image[1]
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    ratio = tf.exp(low + (high - low) * uniforms[ATTEMPTS : 2 * ATTEMPTS])
    # (attempts, 2): heights and widths.
    sizes = tf.round(tf.sqrt(tf.stack((area / ratio, area * ratio), axis=1)))
    fits = tf.reduce_all((sizes > 0) & (sizes <= image), axis=1)
    sampled = sizes[tf.argmax(fits)]
    offsets = tf.floor(uniforms[-3:-1] * (image - sampled + 1))
    # When none fits: the largest part in the middle of an allowed ratio.
    largest = tf.minimum(
        image, tf.round(image[::-1] * (1 / RATIO[0], RATIO[1]))
    )
    found = tf.reduce_any(fits)
    box = tf.concat(
        (
            tf.where(found, offsets, (image - largest) // 2),
            tf.where(found, sampled, largest),
        ),
        axis=0,
    )
    return tf.cast(box, "int32")


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


def _resize(image, size, scale, offsets, flip=None):
    """Scales an image and takes a square of the result."""
    import tensorflow as tf

    # TensorFlow's kernel is quick only along the first axis and when the rest
    # is long, which two transpositions of a matrix bring about: in all less
    # than half the time of tf.image.resize.
    height, width = tf.unstack(tf.shape(image)[:2])
    matrix = tf.transpose(tf.reshape(image, (height, width * 3)))
    matrix = tf.reshape(matrix, (width, 3 * height))
    matrix = _scale_rows(matrix, size, scale[1], offsets[1])
    if flip is not None:
        matrix = tf.cond(
            flip, lambda: tf.reverse(matrix, (0,)), lambda: matrix
        )
    matrix = tf.transpose(tf.reshape(matrix, (size * 3, height)))
    matrix = _scale_rows(matrix, size, scale[0], offsets[0])
    return tf.reshape(matrix, (size, size, 3))


def _scale_rows(matrix, size, scale, offset):
    """Scales the number of rows and takes `size` of them from `offset` on."""
    import tensorflow as tf

    rows = tf.raw_ops.ScaleAndTranslate(
        images=matrix[None, :, None],
        size=(size, 1),
        scale=tf.stack((scale, 1.0)),
        translation=tf.stack((-tf.cast(offset, "float32"), 0.0)),
        kernel_type="triangle",
        antialias=True,
    )
    # The half rounds, for the cast only cuts off.
    return tf.cast(rows[0, :, 0] + 0.5, "uint8")
