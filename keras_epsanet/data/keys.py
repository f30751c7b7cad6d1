"""Keys of all random numbers in the reading of images."""

import numpy as np

INT64_MAX = np.iinfo("int64").max
# What a random number is for.
FILE_ORDER, RECORD_ORDER, CROP, AUGMENTATION, MIXING = range(5)


def random_key(seed, purpose, number):
    """Key of TensorFlow's stateless random functions.

    Args:
        seed: Integer.
        purpose: `FILE_ORDER`, `RECORD_ORDER`, `CROP`, `AUGMENTATION` or
            `MIXING`.
        number: Integer or int64 tensor.

    Returns:
        Tensor int64 `(2,)`.
    """
    import tensorflow as tf

    return tf.stack((tf.constant(8 * seed + purpose, "int64"), number))
