"""A training of seconds that runs the code of a training on ImageNet."""

import os

from keras_epsanet import atomic, data, training

SMOKE = training.ImageNetRecipe(
    model="tiny", image_size=32, epochs=3, batch_size=16, decay_epochs=2
)
CHECKPOINT_STEPS = 3


def write_images(path, train=96, val=40):
    """Writes embedded images as an ImageNet of ten classes.

    Args:
        path: Folder, which appears when all is written.
        train, val: Integers, numbers of images.

    Example:

    >>> write_images("images", train=20, val=10)
    >>> sorted(os.listdir("images"))
    ['train', 'val']
    """
    try:
        with atomic.whole(path) as temporary:
            _write_images(temporary, train, val)
    except OSError:
        # Another worker may have been sooner.
        if not os.path.isdir(path):
            raise


def _write_images(path, train, val):
    import tensorflow as tf

    for folder, split, count in zip(
        ("train", "val"), ("train", "test"), (train, val)
    ):
        images = data.fashion_mnist(split)
        names = [name.replace("/", " ") for name in images.class_names]
        for i, (image, label) in enumerate(images.take(count)):
            class_folder = os.path.join(path, folder, names[label])
            os.makedirs(class_folder, exist_ok=True)
            jpeg = tf.io.encode_jpeg(tf.image.grayscale_to_rgb(image))
            tf.io.write_file(os.path.join(class_folder, f"{i}.JPEG"), jpeg)
