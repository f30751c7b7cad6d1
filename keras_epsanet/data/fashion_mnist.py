"""A part of Fashion-MNIST that comes with the package."""

import os

import numpy as np

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# Written by `tools/make_fashion_mnist.py`.
FILE = os.path.join(os.path.dirname(__file__), "fashion_mnist.npz")


def fashion_mnist(split):
    """Small gray pictures of clothes, which need no network.

    10,000 training and 2,000 test images of
    [Fashion-MNIST](https://github.com/zalandoresearch/fashion-mnist) (MIT
    license, `LICENSE.fashion_mnist`): the first of every class, as many of
    each, in the order of the original files.

    Args:
        split: `"train"` or `"test"`.

    Returns:
        A `tf.data.Dataset` of images, uint8 `(28, 28, 1)`, light on black,
        and classes, int64, with the attributes `class_names` and
        `num_images`.

    Raises:
        ValueError: If `split` is something else.

    Example:

    >>> dataset = fashion_mnist("test")
    >>> image, label = next(iter(dataset))
    >>> image.shape, dataset.class_names[label]
    (TensorShape([28, 28, 1]), 'Ankle boot')
    """
    import tensorflow as tf

    if split not in ("train", "test"):
        raise ValueError(
            f'`split` must be "train" or "test". Received: split={split}'
        )
    with np.load(FILE) as arrays:
        images = arrays[f"{split}_images"]
        labels = arrays[f"{split}_labels"].astype("int64")
    dataset = tf.data.Dataset.from_tensor_slices((images, labels))
    dataset.class_names = list(CLASS_NAMES)
    dataset.num_images = len(labels)
    return dataset
