"""Batches of a classifier's images, the same for the same seed and epoch."""

import keras

from keras_epsanet.data.imagenet.augmentation import Augmentations
from keras_epsanet.data.keys import (
    AUGMENTATION,
    CROP,
    INT64_MAX,
    MIXING,
    random_key,
)

# The order of all sources is mixed, so a small buffer will do.
SHUFFLED = 1000


def steps_per_epoch(dataset, recipe):
    """Counts the batches that hold every image at least once.

    Args:
        dataset: Dataset with the attribute `num_images`.
        recipe: `ClassifierRecipe`.

    Returns:
        Integer.
    """
    return -(-dataset.num_images // recipe.step_batch_size)


def training_batches(dataset, recipe, first_step=0):
    """Batches to train with, without end.

    Every epoch has all images in an order of its own; its last batch is
    filled up with other images. What a batch holds depends on the seed of
    the recipe and the number of the step alone, so that a training goes on
    with the batches that it would have had.

    Args:
        dataset: What a function of `keras_epsanet.data` returned.
        recipe: `ClassifierRecipe`.
        first_step: Integer, number of the first batch. What comes before it
            in its epoch is decoded and passed over.

    Returns:
        A `tf.data.Dataset` of RGB images from 0 to 255, uint8 (float32 with
        augmentations), `(step_batch_size, image_size, image_size, 3)`, and
        classes, one-hot, float32 `(step_batch_size, classes)`.

    Example:

    >>> from keras_epsanet.data import fashion_mnist
    >>> from keras_epsanet.training import ClassifierRecipe
    >>> recipe = ClassifierRecipe(image_size=32, batch_size=8)
    >>> batches = training_batches(fashion_mnist("train"), recipe)
    >>> images, classes = next(iter(batches))
    >>> images.shape, classes.shape
    (TensorShape([8, 32, 32, 3]), TensorShape([8, 10]))
    """
    import tensorflow as tf

    seed, size = recipe.seed, recipe.step_batch_size
    steps = steps_per_epoch(dataset, recipe)
    augment = Augmentations(recipe.augmentations or ())
    # Traced once, for RandAugment takes seconds.
    augment_image = tf.function(augment.image)
    images = _resized(dataset, recipe.image_size)

    def images_of(epoch):
        # Of this function alone, and never 0: TensorFlow makes the order
        # from this seed and that of the call, each less than 2**31 - 1.
        high, low = divmod(seed, 2**31 - 2)
        tf.random.set_seed(1 + low)
        order = images.shuffle(SHUFFLED, seed=8 * epoch + high)
        return order.repeat().take(steps * size)

    def change(number, pair):
        image, label = pair
        if recipe.flip:
            key = random_key(seed, CROP, number)
            image = tf.image.stateless_random_flip_left_right(image, key)
        image = augment_image(image, random_key(seed, AUGMENTATION, number))
        return image, tf.one_hot(label, len(dataset.class_names))

    def mix(step, batch):
        return augment.batch(*batch, random_key(seed, MIXING, step))

    epoch, done = divmod(first_step, steps)
    return (
        tf.data.Dataset.range(epoch, INT64_MAX)
        .flat_map(images_of)
        .skip(done * size)
        .enumerate(first_step * size)
        .map(change, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(size, drop_remainder=True)
        .enumerate(first_step)
        .map(mix, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def evaluation_batches(dataset, recipe):
    """Batches with every image once, in the order of the dataset.

    Args:
        dataset: What a function of `keras_epsanet.data` returned.
        recipe: `ClassifierRecipe`.

    Returns:
        A finite `tf.data.Dataset` like that of `training_batches`, uint8.
        The last batch may be smaller.
    """
    import tensorflow as tf

    def encode(image, label):
        return image, tf.one_hot(label, len(dataset.class_names))

    return (
        _resized(dataset, recipe.image_size)
        .map(encode)
        .batch(recipe.step_batch_size)
        .prefetch(tf.data.AUTOTUNE)
    )


def _resized(dataset, size):
    """Images as the saved model resizes them, rounded to bytes."""
    import tensorflow as tf

    resize = keras.layers.Resizing(size, size, dtype="float32")

    def prepare(image, label):
        if image.shape[-1] == 1:
            image = tf.image.grayscale_to_rgb(image)
        image = tf.saturate_cast(tf.round(resize(image)), "uint8")
        return tf.ensure_shape(image, (size, size, 3)), label

    return dataset.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
