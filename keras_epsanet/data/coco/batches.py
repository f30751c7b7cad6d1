"""Batches of COCO, or of data in its form, for detectors.

The images are as in MMDetection's 1× training: the shorter side 800 pixels
unless the longer would be more than 1333, flipped or not, normalized, padded
at the right and at the bottom. Order and flips are a function of the seed,
the epoch and the number of the image.

EXIF's orientation is not heeded, as pycocotools and torchvision do not heed
it, unless the size in the annotations is that of the upright image alone.
(MMDetection turns images, but not their boxes.)
"""

import dataclasses
import functools

from keras_epsanet.data.coco.annotations import Annotations
from keras_epsanet.data.coco.aspect_ratio_groups import grouped_order
from keras_epsanet.data.coco.augmentation import (
    check_augmentation,
    distort_colors,
)
from keras_epsanet.data.coco.batch_arguments import (
    check_format,
    check_num_images,
    check_sizes,
    checked_numbers,
    warn_of_many,
)
from keras_epsanet.data.coco.shards import (
    evaluation_order,
    in_order,
    pad_as_one,
    places_of_step,
)
from keras_epsanet.data.coco.table import Table
from keras_epsanet.data.coco.transforms import (
    PAD_TO,
    pad_and_batch,
    padded_size,
    resized_size,
    transform,
)
from keras_epsanet.data.keys import (
    AUGMENTATION,
    CROP,
    INT64_MAX,
    random_key,
)

__all__ = [
    "Annotations",
    "load",
    "to_keras_cv",
    "to_keras_hub",
    "training_images",
]


def load(
    annotations,
    batch_size,
    training=False,
    image_size=(800, 1333),
    pad_to=PAD_TO,
    masks=False,
    max_objects=100,
    bounding_box_format="xyxy",
    seed=0,
    first_step=0,
    shard=(0, 1),
    augmentation=None,
):
    """Makes batches of the images and objects of a COCO data set.

    In training, images without objects are left out, every epoch has a new
    order, half of the images are flipped, and the batches never end; an
    epoch has `images // batch_size` of them, of wide images or of tall ones
    but for at most one. In evaluation every image comes
    once, in the order of the file, and the last batch is smaller. Of several
    workers each has its part of every batch, padded as the whole batch is;
    of the last one in evaluation some may have none.

    An image that cannot be read, or has not the size that the annotations
    give, is named in a warning and in `annotations.bad`. In training the next
    image takes its place; in evaluation it is black and without objects.

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
        masks: Whether there are masks. Objects of which none can be drawn
            are left out then, counted and named in a warning.
        max_objects: Positive integer, rows of boxes; of more objects in an
            image the first are taken, and a warning names the image.
        bounding_box_format: `"xyxy"`, `"yxyx"`, `"xywh"` or
            `"center_xywh"`, as in `keras.utils.bounding_boxes`.
        seed: Integer from 0 to 2**31 - 1, decides order and flips.
        first_step: Integer, number of the first batch, from 0 on.
        shard: Pair of integers, the number of this worker, from 0 on, and of
            all.
        augmentation: `Augmentation`, for training, or `None`.

    Returns:
        A `tf.data.Dataset` of dictionaries:

        - `images`: float32 `(N, height, width, 3)`, RGB, normalized as by
          `preprocess_input`; 0 where they are padded.
        - `boxes`: float32 `(N, max_objects, 4)`, in pixels of these images;
          -1 where there is no object.
        - `labels`: int32 `(N, max_objects)`, from 0 on; -1 for no object.
        - `masks` and `mask_grids`, if masks are wanted: uint8
          `(N, max_objects, S, S)`, from 0 to 255, the part of the image that
          the object covers, and float32 `(N, max_objects, 2, S + 1)`, where
          the rows and columns of the former lie, in pixels of these images.
          `MaskRCNN` learns from both, and
          `keras_epsanet.detection.unfold_masks` draws them.
        - `image_id`: int64 `(N,)`; -1 of an image that cannot be read.
        - `original_size`, `image_size`: int32 `(N, 2)`, height and width of
          the file and after resizing, before padding.

    Raises:
        ValueError: If an argument is out of range, there are fewer images
            with objects than a batch has, or no image, or no masks. While
            batches are made: if more than 1 % of all images cannot be read,
            and more than three.
    """
    import tensorflow as tf

    batch_size, image_size, pad_to, shard, max_objects, seed, first_step = (
        checked_numbers(
            *(batch_size, image_size, pad_to, shard),
            *(max_objects, seed, first_step),
        )
    )
    check_format(bounding_box_format)
    check_augmentation(augmentation, training, image_size, pad_to)
    if training:
        chosen = training_images(annotations, masks)
    else:
        chosen = annotations.images_with_masks if masks else annotations.images
    check_num_images(annotations.path, batch_size, len(chosen), training)
    sizes = [resized_size((x.height, x.width), image_size) for x in chosen]
    check_sizes(sizes, pad_to)
    warn_of_many(annotations.path, chosen, max_objects)
    table = Table(
        chosen,
        sizes,
        [padded_size(size, pad_to) for size in sizes],
        max_objects,
        annotations.bad_images,
        replace=training,
    )
    read = _reader(table, masks, augmentation, image_size, pad_to, seed)
    if training:
        locate = _locate(sizes, batch_size, seed)
        numbers = _training_order(locate, batch_size, first_step, shard)
    else:
        locate = in_order
        numbers = evaluation_order(len(chosen), batch_size, first_step, shard)
    dataset = numbers.map(
        lambda i, flip, number: transform(
            read(i, flip, number), flip, bounding_box_format
        ),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    dataset = pad_and_batch(dataset, batch_size // shard[1], pad_to, training)
    if shard[1] > 1 and isinstance(pad_to, int):
        last = None if training else len(chosen)
        measure = _measure(table, augmentation, image_size, pad_to, seed)
        places = functools.partial(places_of_step, batch_size, last, locate)
        dataset = pad_as_one(dataset, first_step, places, measure)
    return dataset.prefetch(tf.data.AUTOTUNE)


def _reader(table, masks, augmentation, image_size, pad_to, seed):
    """Function from an index, a flip and a number to an image."""
    if augmentation is None:
        return functools.partial(_read, table, masks)
    changes = augmentation.changes(image_size, pad_to, seed)
    return functools.partial(
        _read_augmented, table, masks, augmentation, changes, seed
    )


def _measure(table, augmentation, image_size, pad_to, seed):
    """Function from images to the size that they are padded to together."""
    if augmentation is None:
        return table.largest
    # What a function of the user would do with images is not known.
    known = dataclasses.replace(augmentation, function=None)
    changes = known.changes(image_size, pad_to, seed)
    return functools.partial(table.largest, augment=changes)


def _read(table, masks, index, flip, number):
    return table.read(index, flip, masks)


def _read_augmented(
    table, masks, augmentation, changes, seed, index, flip, number
):
    element = table.read_augmented(index, flip, number, masks, changes)
    if augmentation.photometric:
        key = random_key(seed, AUGMENTATION, number)
        element["images"] = distort_colors(element["images"], key)
    return element


def _locate(sizes, batch_size, seed):
    """Function from a place in all batches to index, flip and number."""
    import tensorflow as tf

    order = grouped_order(sizes, batch_size, seed)
    per_epoch = len(sizes) // batch_size * batch_size

    def locate(position):
        epoch, index = position // per_epoch, position % per_epoch
        index = order(epoch, index)
        number = epoch * len(sizes) + index
        key = random_key(seed, CROP, number)
        return index, tf.random.stateless_uniform((), key) < 0.5, number

    return locate


def _training_order(locate, batch_size, first_step, shard):
    """Indices, flips and numbers of the worker's images, without an end."""
    import tensorflow as tf

    per_batch = batch_size // shard[1]

    def locate_own(number):
        position = number // per_batch * batch_size
        return locate(position + shard[0] * per_batch + number % per_batch)

    first = first_step * per_batch
    return tf.data.Dataset.range(first, INT64_MAX).map(locate_own)


def training_images(annotations, masks=False):
    """The images from which a detector learns.

    Args:
        annotations: `Annotations`.
        masks: Whether only objects with a mask count.

    Returns:
        List of the `Image`s with objects; an epoch of `load` has
        `len(images) // batch_size` batches.

    Raises:
        ValueError: If masks are wanted and no object has one.
    """
    images = annotations.images_with_masks if masks else annotations.images
    return [image for image in images if len(image.labels)]


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
