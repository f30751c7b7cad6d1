"""Batches of COCO, or of data in its form, for detectors.

The images are as in MMDetection's 1× training: the shorter side 800 pixels
unless the longer would be more than 1333, flipped or not, normalised, padded
at the right and at the bottom. Order and flips are a function of the seed,
the epoch and the number of the image.
"""

import numpy as np

from keras_epsanet.data.coco_annotations import Annotations
from keras_epsanet.data.image_folder import decode_image
from keras_epsanet.data.image_sources import CROP, INT64_MAX, random_key
from keras_epsanet.data.shape_groups import grouped_order
from keras_epsanet.models.imagenet import IMAGENET_MEAN, IMAGENET_STD

__all__ = ["Annotations", "load", "to_keras_cv", "to_keras_hub"]

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


def load(
    annotations,
    batch_size,
    training=False,
    image_size=(800, 1333),
    pad_to=32,
    masks=False,
    max_objects=100,
    bounding_box_format="xyxy",
    seed=0,
    first_step=0,
    shard=(0, 1),
):
    """Makes batches of the images and objects of a COCO data set.

    In training, images without objects are left out, every epoch has a new
    order, half of the images are flipped, and the batches never end; an
    epoch has `images // batch_size` of them, of wide images or of tall ones
    but for at most one. In evaluation every image comes
    once, in the order of the file, and the last batch is smaller.

    Args:
        annotations: `Annotations`.
        batch_size: Integer, images in the batch of all workers together.
        training: Whether the batches are for training.
        image_size: Pair of integers, the shorter side after resizing, and
            what the longer must not exceed, in pixels. The ratio of the
            sides stays.
        pad_to: Integer, height and width are padded to its next multiple
            that all images of a batch fit in; or a pair, the height and
            width of all batches.
        masks: Whether there are masks.
        max_objects: Integer, rows of boxes; of more objects in an image the
            first are taken.
        bounding_box_format: `"xyxy"`, `"yxyx"`, `"xywh"` or
            `"center_xywh"`, as in `keras.utils.bounding_boxes`.
        seed: Integer from 0 to 2**31 - 1, decides order and flips.
        first_step: Integer, number of the first batch in training.
        shard: Pair of integers, the number of this worker and of all, for
            training.

    Returns:
        A `tf.data.Dataset` of dictionaries:

        - `images`: float32 `(N, height, width, 3)`, RGB, normalised as by
          `preprocess_input`; 0 where they are padded.
        - `boxes`: float32 `(N, max_objects, 4)`, in pixels of these images;
          -1 where there is no object.
        - `labels`: int32 `(N, max_objects)`, from 0 on; -1 for no object.
        - `masks`, if wanted: uint8 `(N, max_objects, height, width)`, 0 or 1.
        - `image_id`: int64 `(N,)`.
        - `original_size`, `image_size`: int32 `(N, 2)`, height and width of
          the file and after resizing, before padding.

    Raises:
        ValueError: If an argument is out of range, or there are less images
            with objects than a batch has.
    """
    import tensorflow as tf

    chosen = [
        i
        for i, image in enumerate(annotations.images)
        if len(image.labels) or not training
    ]
    _check(batch_size, image_size, pad_to, shard, len(chosen), training)
    if bounding_box_format not in FORMATS:
        raise ValueError(
            f"`bounding_box_format` must be one of {', '.join(FORMATS)}. "
            f"Received: bounding_box_format={bounding_box_format}"
        )
    sizes = [_resized(annotations.images[i], image_size) for i in chosen]
    if not isinstance(pad_to, int) and np.any(np.array(sizes) > pad_to):
        raise ValueError(
            "`pad_to` must not be less than a resized image. "
            f"Received: pad_to={pad_to}, an image of {max(sizes)}"
        )
    table = _Table(annotations, chosen, sizes, max_objects)
    order = grouped_order(sizes, batch_size, seed)

    def locate(number):
        """Index and flip of the worker's image of this number."""
        per_batch = batch_size // shard[1]
        position = number // per_batch * batch_size
        position += shard[0] * per_batch + number % per_batch
        per_epoch = len(chosen) // batch_size * batch_size
        epoch, index = position // per_epoch, position % per_epoch
        index = order(epoch, index)
        key = random_key(seed, CROP, epoch * len(chosen) + index)
        return index, tf.random.stateless_uniform((), key) < 0.5

    def read(index, flip):
        element = table.read(index, masks)
        return _transform(element, flip, bounding_box_format)

    if training:
        first = first_step * (batch_size // shard[1])
        numbers = tf.data.Dataset.range(first, INT64_MAX).map(locate)
    else:
        numbers = tf.data.Dataset.range(len(chosen)).map(lambda i: (i, False))
    dataset = numbers.map(
        read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return _pad_and_batch(
        dataset,
        batch_size // shard[1] if training else batch_size,
        pad_to,
        training,
    ).prefetch(tf.data.AUTOTUNE)


def to_keras_cv(batch):
    """Turns a batch of `load` into one of KerasCV's detectors.

    Args:
        batch: Dictionary.

    Returns:
        Dictionary of `images` and `bounding_boxes`, which is a dictionary of
        `boxes` and `classes`, float32.
    """
    import tensorflow as tf

    return {
        "images": batch["images"],
        "bounding_boxes": {
            "boxes": batch["boxes"],
            "classes": tf.cast(batch["labels"], "float32"),
        },
    }


def to_keras_hub(batch):
    """Turns a batch of `load` into one of KerasHub's detectors.

    Args:
        batch: Dictionary.

    Returns:
        Pair: the images, and a dictionary of `boxes` and `labels`.
    """
    targets = {"boxes": batch["boxes"], "labels": batch["labels"]}
    return batch["images"], targets


class _Table:
    """The chosen images as arrays, from which TensorFlow's graph reads."""

    def __init__(self, annotations, chosen, sizes, max_objects):
        images = [annotations.images[i] for i in chosen]
        self._annotations, self._chosen = annotations, chosen
        self._max_objects = max_objects
        self._sizes = np.array(sizes, "int32").reshape(-1, 2)
        self._images = images
        self._originals = np.array(
            [(image.height, image.width) for image in images], "int32"
        ).reshape(-1, 2)
        self._ids = np.array([image.id for image in images], "int64")

    def read(self, index, masks):
        """A dictionary as `load` returns, of one image as in its file."""
        import tensorflow as tf

        def objects(index):
            image = self._images[index]
            boxes = np.full((self._max_objects, 4), -1, "float32")
            labels = np.full(self._max_objects, -1, "int32")
            number = min(len(image.labels), self._max_objects)
            boxes[:number] = image.boxes[:number]
            labels[:number] = image.labels[:number]
            return boxes, labels

        def draw(index):
            size = tuple(self._sizes[index])
            drawn = np.zeros((self._max_objects, *size), "uint8")
            found = self._annotations.masks(self._chosen[index], size)
            found = found[: self._max_objects]
            drawn[: len(found)] = found
            return drawn

        def decode(index):
            image = decode_image(self._images[index].path).numpy()
            if image.shape[:2] != tuple(self._originals[index]):
                raise ValueError(
                    "An image must have the size that the annotations give. "
                    f"Received: {self._images[index].path} of "
                    f"{image.shape[:2]}, not {tuple(self._originals[index])}"
                )
            return image

        boxes, labels = tf.numpy_function(
            objects, [index], ["float32", "int32"]
        )
        image = tf.numpy_function(decode, [index], "uint8")
        image.set_shape((None, None, 3))
        boxes.set_shape((self._max_objects, 4))
        labels.set_shape((self._max_objects,))
        element = {
            "images": image,
            "boxes": boxes,
            "labels": labels,
            "image_id": tf.gather(self._ids, index),
            "original_size": tf.gather(self._originals, index),
            "image_size": tf.gather(self._sizes, index),
        }
        if masks:
            element["masks"] = tf.numpy_function(draw, [index], "uint8")
            element["masks"].set_shape((self._max_objects, None, None))
        return element


def _transform(element, flip, bounding_box_format):
    """Resizes, flips and normalises one image with its objects."""
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
    transformed = {
        **element,
        "images": tf.cond(flip, lambda: image[:, ::-1], lambda: image),
        "boxes": tf.where(padding, -1.0, boxes),
    }
    if "masks" in element:
        transformed["masks"] = tf.cond(
            flip,
            lambda: element["masks"][:, :, ::-1],
            lambda: element["masks"],
        )
    return transformed


def _resized(image, image_size):
    """Height and width after resizing, MMDetection's `rescale_size`."""
    sides = image.height, image.width
    scale = min(image_size[0] / min(sides), image_size[1] / max(sides))
    return tuple(max(1, int(side * scale + 0.5)) for side in sides)


def _pad_and_batch(dataset, batch_size, pad_to, drop_remainder):
    import tensorflow as tf

    spec = dataset.element_spec
    height, width = (None, None) if isinstance(pad_to, int) else pad_to
    shapes = {name: x.shape for name, x in spec.items()}
    shapes["images"] = (height, width, 3)
    if "masks" in spec:
        shapes["masks"] = (spec["masks"].shape[0], height, width)
    dataset = dataset.padded_batch(
        batch_size, padded_shapes=shapes, drop_remainder=drop_remainder
    )
    if not isinstance(pad_to, int):
        return dataset

    def pad(batch):
        more = -tf.shape(batch["images"])[1:3] % pad_to
        pads = [(0, more[0]), (0, more[1])]
        padded = {
            "images": tf.pad(batch["images"], [(0, 0), *pads, (0, 0)])
        }
        if "masks" in batch:
            padded["masks"] = tf.pad(
                batch["masks"], [(0, 0), (0, 0), *pads]
            )
        return {**batch, **padded}

    return dataset.map(pad, num_parallel_calls=tf.data.AUTOTUNE)


def _check(batch_size, image_size, pad_to, shard, num_images, training):
    if batch_size < 1 or batch_size % shard[1]:
        raise ValueError(
            "`batch_size` must be a positive multiple of the number of "
            f"workers. Received: batch_size={batch_size}, shard={shard}"
        )
    if not 0 < image_size[0] <= image_size[1]:
        raise ValueError(
            "`image_size` must be the shorter and the longer side. "
            f"Received: image_size={image_size}"
        )
    if np.min(pad_to) < 1:
        raise ValueError(
            f"`pad_to` must be positive. Received: pad_to={pad_to}"
        )
    if training and num_images < batch_size:
        raise ValueError(
            "There must be a batch of images with objects at least. Received: "
            f"batch_size={batch_size}, {num_images} images"
        )
