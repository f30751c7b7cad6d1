"""Batches of ImageNet, or of data kept as it is, for training and evaluation.

Everything random is a function of the seed, the epoch and the number of the
image: a run that is continued at some step sees what it would have seen
without the pause. Images stay uint8 until the device.
"""

from keras_epsanet.data.imagenet import augmentation, crops
from keras_epsanet.data.imagenet.decoding import decoded_batches
from keras_epsanet.data.imagenet.file_split import Slots
from keras_epsanet.data.imagenet.source import open_source
from keras_epsanet.data.keys import (
    AUGMENTATION,
    CROP,
    INT64_MAX,
    MIXING,
    random_key,
)
from keras_epsanet.integers import check_positive, is_integer

__all__ = ["evaluation_batches", "open_source", "training_batches"]


def training_batches(
    source,
    batch_size,
    image_size=224,
    seed=0,
    first_step=0,
    augmentations=None,
    shard=(0, 1),
    antialias=True,
):
    """Batches for training, without end.

    A random part of every image (0.08 to 1 of the area, height to width 3/4
    to 4/3), resized and flipped at random, as by torchvision's
    `RandomResizedCrop` and `RandomHorizontalFlip`. EXIF's orientation is
    heeded, which torchvision's `ImageFolder` does not do. An epoch has
    `source.num_train // batch_size` batches and a new order; the rest of the
    images is left out, others each time. An image that cannot be decoded is
    replaced by the next one, with its label.

    Args:
        source: What `open_source` returned.
        batch_size: Integer, images in the batch of all workers together.
        image_size: Integer, height and width in pixels.
        seed: Integer from 0 to 2**31 - 1, decides everything random.
        first_step: Integer, number of the first batch. The batches are those
            that would follow if the ones before had been read.
        augmentations: Names among `"rand_augment"`, `"random_erasing"`,
            `"mix_up"` and `"cut_mix"`, or a dictionary from the names to
            arguments of Keras' layers. They are applied in this order; the
            last two mix the images of one worker.
        shard: Pair of integers, the number of this worker and of all workers.
            The parts of a batch, put together, are the batch of one worker.
        antialias: Whether images are smoothed before they are reduced, as
            torchvision does it. Without, reading takes less time.

    Returns:
        A `tf.data.Dataset` of images, RGB from 0 to 255, uint8 (float32 with
        augmentations), `(batch_size / workers, image_size, image_size, 3)`,
        and labels, one-hot, float32 `(batch_size / workers, classes)`.

    Raises:
        ValueError: If an argument is out of range. While the batches are
            read it stands in the message of a `tf.errors.OpError`: more than
            1 % of the images, and more than three, are bad.

    Example:

    >>> dataset = training_batches(source, batch_size=2)  # doctest: +SKIP
    >>> model.fit(dataset, steps_per_epoch=10009)  # doctest: +SKIP
    """
    import tensorflow as tf

    _check(batch_size, image_size, shard, seed, first_step)
    _check_number(source.num_train, batch_size)
    augment = augmentation.Augmentations(augmentations or ())
    # Traced once, for RandAugment takes seconds.
    augment_image = tf.function(augment.image)
    slots = Slots(
        batch_size,
        per_epoch=source.num_train // batch_size * batch_size,
        first=first_step,
        last=INT64_MAX,
        shard=shard,
    )

    def prepare(encoded, position, index):
        number = position // slots.per_epoch * source.num_train + index
        uniforms = tf.random.stateless_uniform(
            (crops.NUM_UNIFORMS,), random_key(seed, CROP, number)
        )
        image = crops.random_crop(encoded, uniforms, image_size, antialias)
        return augment_image(image, random_key(seed, AUGMENTATION, number))

    def finish(step, batch):
        images, labels, _ = batch
        labels = tf.one_hot(labels, len(source.class_names))
        key = random_key(seed, MIXING, step * shard[1] + shard[0])
        return augment.batch(images, labels, key)

    batches = decoded_batches(source.train, slots, prepare, seed)
    steps = tf.data.Dataset.range(first_step, INT64_MAX)
    endless = tf.data.experimental.assert_cardinality(
        tf.data.INFINITE_CARDINALITY
    )
    return (
        tf.data.Dataset.zip(steps, batches)
        .map(finish, num_parallel_calls=tf.data.AUTOTUNE)
        .apply(endless)
        .prefetch(tf.data.AUTOTUNE)
    )


def evaluation_batches(
    source, batch_size, image_size=224, shorter_side=None, shard=(0, 1)
):
    """Batches for evaluation, with every validation image once.

    The shorter side is resized to `shorter_side` (antialiased, bilinear) and
    the middle taken, as by torchvision's `Resize` and `CenterCrop`. An image
    that cannot be decoded is left out, and its batch is smaller by it, so
    that Keras takes loss and metrics over the good images alone. For several
    devices see `keras_epsanet.distribution.divide_batches`.

    Args:
        source: What `open_source` returned.
        batch_size: Integer, images in the batch of all workers together. The
            last batch may have fewer.
        image_size: Integer, height and width in pixels.
        shorter_side: Integer, in pixels; `None` is 256 for 224, and as much
            of other sizes.
        shard: Pair of integers, the number of this worker and of all workers.

    Returns:
        A finite `tf.data.Dataset` of images, RGB, uint8
        `(N, image_size, image_size, 3)`, and labels, one-hot, float32
        `(N, classes)`; N is from 1 to `batch_size / workers`.

    Raises:
        ValueError: As for `training_batches`.

    Example:

    >>> dataset = evaluation_batches(source, batch_size=64)  # doctest: +SKIP
    >>> model.evaluate(dataset)  # doctest: +SKIP
    """
    import tensorflow as tf

    _check(batch_size, image_size, shard)
    if shorter_side is None:
        shorter_side = round(image_size * 256 / 224)
    check_positive(shorter_side=shorter_side)
    if shorter_side < image_size:
        raise ValueError(
            "`shorter_side` must not be less than `image_size`. Received: "
            f"shorter_side={shorter_side}, image_size={image_size}"
        )
    num_images = source.num_val
    steps = -(-num_images // batch_size)
    slots = Slots(
        batch_size,
        per_epoch=num_images,
        first=0,
        last=steps,
        shard=shard,
    )

    def prepare(encoded, position, index):
        return crops.center_crop(encoded, shorter_side, image_size)

    def leave_out(images, labels, weights):
        labels = tf.one_hot(labels, len(source.class_names))
        good = weights > 0
        return tf.cond(
            tf.reduce_all(good),
            lambda: (images, labels),
            lambda: (
                tf.boolean_mask(images, good),
                tf.boolean_mask(labels, good),
            ),
        )

    return (
        decoded_batches(source.val, slots, prepare)
        .map(leave_out, num_parallel_calls=tf.data.AUTOTUNE)
        .filter(lambda images, labels: tf.shape(images)[0] > 0)
        .prefetch(tf.data.AUTOTUNE)
    )


def _check_number(num_train, batch_size):
    if num_train < batch_size:
        raise ValueError(
            "There must be a batch of training images at least. Received: "
            f"batch_size={batch_size}, {num_train} images"
        )


def _check(batch_size, image_size, shard, seed=0, first_step=0):
    number, workers = shard
    are_integers = is_integer(number) and is_integer(workers)
    if not are_integers or number not in range(workers):
        raise ValueError(
            "`shard` must be two integers, the number of a worker, from 0 on, "
            f"and of all workers. Received: shard={shard}"
        )
    check_positive(batch_size=batch_size, image_size=image_size)
    if batch_size % workers:
        raise ValueError(
            "`batch_size` must be a multiple of the number of workers. "
            f"Received: batch_size={batch_size}, shard={shard}"
        )
    if not is_integer(seed) or not 0 <= seed < 2**31:
        raise ValueError(
            "`seed` must be an integer from 0 to 2**31 - 1. "
            f"Received: seed={seed}"
        )
    if not is_integer(first_step) or first_step < 0:
        raise ValueError(
            "`first_step` must be an integer from 0 on. "
            f"Received: first_step={first_step}"
        )
