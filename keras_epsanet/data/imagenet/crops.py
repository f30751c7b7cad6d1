"""Crops of JPEG images as torchvision makes them, in TensorFlow's graph.

The resizing is that of `PIL.Image.resize` with BILINEAR, a triangle that
widens with the reduction. Like PIL's, it does the width first and rounds to 8
bits between the two directions; other rounding makes a few differences of 1.

Images are turned upright as EXIF asks for. torchvision's `ImageFolder` leaves
them as the sensor saw them, but a network trained on sideways photographs
would not fit the upright ones that it is to name.
"""

import math

from keras_epsanet.data import exif

# torchvision.transforms.RandomResizedCrop.
AREA = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)
ATTEMPTS = 10
# An area and a ratio for each attempt, the two offsets, the flip.
NUM_UNIFORMS = 2 * ATTEMPTS + 3


def random_crop(encoded, uniforms, size, antialias=True):
    """A random part of a JPEG image, resized to a square.

    torchvision's `RandomResizedCrop(size)` and `RandomHorizontalFlip()`. Only
    the part is decoded.

    Args:
        encoded: String tensor, the bytes of the JPEG file.
        uniforms: Tensor `(NUM_UNIFORMS,)` of random numbers in [0, 1), which
            decide everything.
        size: Integer, height and width of the result in pixels.
        antialias: Whether the triangle widens with the reduction.

    Returns:
        Tensor uint8 `(size, size, 3)`.
    """
    import tensorflow as tf

    turn = exif.find_turn(encoded)
    # Without branches: many small operations in them take long.
    shape = tf.gather(tf.io.extract_jpeg_shape(encoded), turn[:2])
    box = random_box(shape, uniforms)
    image = tf.image.decode_and_crop_jpeg(
        encoded,
        exif.box_in_file(box, shape, turn),
        channels=3,
        dct_method="INTEGER_ACCURATE",
    )
    # Only a reference where the order stays.
    image = tf.transpose(image, turn[:3])
    image.set_shape((None, None, 3))
    flips = (False, uniforms[-1] < 0.5) ^ tf.cast(turn[3:], "bool")
    if antialias:
        return _resize(image, (size, size), flips)
    # The quick kernel is that of float32.
    image = tf.image.resize(tf.cast(image, "float32"), (size, size))
    return tf.reverse(_round(image), tf.where(flips)[:, 0])


def random_box(shape, uniforms):
    """The part that torchvision's `RandomResizedCrop.get_params` chooses.

    Args:
        shape: Integer tensor, height and width of the image.
        uniforms: Tensor `(NUM_UNIFORMS,)` of random numbers in [0, 1).

    Returns:
        Tensor int32: top, left, height and width in pixels.
    """
    import tensorflow as tf

    image = tf.cast(shape, "float32")
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


def center_crop(encoded, shorter_side, size):
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
    image = exif.turn_upright(image, exif.find_turn(encoded))
    shape = tf.shape(image)[:2]
    # Whole numbers, as in Python: a float32 could round to the next one.
    resized = shorter_side * shape // tf.reduce_min(shape)
    image = _resize(image, tf.unstack(resized))
    # torchvision's round() goes to the even number, as tf.round does.
    offsets = tf.round(tf.cast(resized - size, "float32") / 2)
    begin = tf.concat((tf.cast(offsets, "int32"), (0,)), axis=0)
    return tf.slice(image, begin, (size, size, 3))


def _resize(image, size, flips=(False, False)):
    """As `PIL.Image.resize` with BILINEAR, and then flipped.

    TensorFlow mixes long rows several times as quickly as pixels of three
    numbers, so columns become rows. Bytes are transposed in less time than
    floating point numbers.
    """
    import tensorflow as tf

    height, width = tf.unstack(tf.shape(image)[:2])
    columns = tf.transpose(tf.reshape(image, (height, -1)))
    columns = _mix_rows(columns, width, size[1], flips[1])
    rows = tf.transpose(tf.reshape(columns, (-1, height)))
    rows = _mix_rows(rows, height, size[0], flips[0])
    return tf.reshape(rows, (*size, 3))


def _mix_rows(rows, number, size, flip):
    """Means of `number` rows, weighted by triangles; flipped, uint8."""
    import tensorflow as tf

    scale = tf.cast(size / number, "float32")
    mixed = tf.raw_ops.ScaleAndTranslate(
        # Along the first dimension the kernel is slower.
        images=tf.reshape(rows, (1, 1, number, -1)),
        size=(1, size),
        scale=(1.0, scale),
        translation=(0.0, 0.0),
        kernel_type="triangle",
        antialias=True,
    )
    order = tf.range(size)
    order = tf.where(flip, size - 1 - order, order)
    return tf.gather(_round(mixed[0, 0]), order)


def _round(image):
    import tensorflow as tf

    # The half rounds, for the cast only cuts off.
    return tf.cast(image + 0.5, "uint8")
