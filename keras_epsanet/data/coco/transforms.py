"""Images of COCO and their boxes, resized, flipped, normalized and padded."""

from keras_epsanet.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD

# Of which the heights and the widths of batches are multiples, the stride of
# C5.
PAD_TO = 32

# From corners; Keras' own conversion runs on Keras' backend only.
FORMATS = {
    "xyxy": lambda x1, y1, x2, y2: (x1, y1, x2, y2),
    "yxyx": lambda x1, y1, x2, y2: (y1, x1, y2, x2),
    "xywh": lambda x1, y1, x2, y2: (x1, y1, x2 - x1, y2 - y1),
    "center_xywh": lambda x1, y1, x2, y2: (
        (x1 + x2) / 2,
        (y1 + y2) / 2,
        x2 - x1,
        y2 - y1,
    ),
}


def transform(element, flip, bounding_box_format):
    """Resizes, flips and normalizes one image with its objects."""
    import tensorflow as tf

    size = element["image_size"]
    # Without antialiasing, as MMDetection's.
    image = tf.image.resize(tf.cast(element["images"], "float32"), size)
    image = (image / 255 - IMAGENET_MEAN) / IMAGENET_STD
    scale = tf.cast(size / element["original_size"], "float32")
    x1, y1, x2, y2 = tf.unstack(
        element["boxes"] * tf.gather(scale, (1, 0, 1, 0)), axis=-1
    )
    width = tf.cast(size[1], "float32")
    x1, x2 = tf.where(flip, width - x2, x1), tf.where(flip, width - x1, x2)
    boxes = tf.stack(FORMATS[bounding_box_format](x1, y1, x2, y2), axis=-1)
    padding = element["labels"][:, None] < 0
    return {
        **element,
        "images": tf.cond(flip, lambda: image[:, ::-1], lambda: image),
        "boxes": tf.where(padding, -1.0, boxes),
    }


def resized_size(sides, image_size):
    """Height and width after resizing, MMDetection's `rescale_size`.

    Args:
        sides: Pair of integers, height and width before, in pixels.
        image_size: Pair of integers, the shorter side after resizing, and
            what the longer must not exceed.

    Returns:
        Pair of integers, in pixels.
    """
    scale = min(image_size[0] / min(sides), image_size[1] / max(sides))
    return tuple(max(1, int(side * scale + 0.5)) for side in sides)


def padded_size(size, pad_to):
    """Height and width that an image alone would be padded to."""
    if not isinstance(pad_to, int):
        return pad_to
    return tuple(-(-side // pad_to) * pad_to for side in size)


def pad_and_batch(dataset, batch_size, pad_to, drop_remainder):
    import tensorflow as tf

    spec = dataset.element_spec
    height, width = (None, None) if isinstance(pad_to, int) else pad_to
    shapes = {name: x.shape for name, x in spec.items()}
    shapes["images"] = (height, width, 3)
    dataset = dataset.padded_batch(
        batch_size, padded_shapes=shapes, drop_remainder=drop_remainder
    )
    if not isinstance(pad_to, int):
        return dataset

    def pad(batch):
        more = -tf.shape(batch["images"])[1:3] % pad_to
        pads = [(0, 0), (0, more[0]), (0, more[1]), (0, 0)]
        return {**batch, "images": tf.pad(batch["images"], pads)}

    return dataset.map(pad, num_parallel_calls=tf.data.AUTOTUNE)
