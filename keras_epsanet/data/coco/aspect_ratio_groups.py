"""An order of images in which those of a batch have similar shapes."""

from keras_epsanet.data.keys import FILE_ORDER, random_key


def grouped_order(sizes, batch_size, seed):
    """Makes an order in which batches are of wide images or of tall ones.

    Images of one batch are padded to the same size, which costs least if
    they have the same orientation. Of every epoch's batches at most one has
    both, of what the others leave. Every epoch has its own order.

    Args:
        sizes: List of pairs, height and width of the images.
        batch_size: Integer.
        seed: Integer.

    Returns:
        Function from the epoch and the place in it, int64 tensors, to the
        number of the image, int64 tensor.

    Raises:
        ValueError: If there are fewer images than a batch has.

    Example:

    >>> import tensorflow as tf
    >>> order = grouped_order([(3, 4), (4, 3), (2, 3), (5, 2)], 2, seed=1)
    >>> epoch = tf.constant(0, "int64")
    >>> [int(order(epoch, tf.constant(i, "int64"))) for i in range(4)]
    [3, 1, 2, 0]
    """
    import tensorflow as tf

    if len(sizes) < batch_size:
        raise ValueError(
            "There must be a batch of images at least. "
            f"Received: batch_size={batch_size}, {len(sizes)} images"
        )
    wide = [i for i, (height, width) in enumerate(sizes) if width > height]
    tall = [i for i, (height, width) in enumerate(sizes) if width <= height]
    groups = [tf.constant(group or [0], "int64") for group in (wide, tall)]
    whole = [len(group) // batch_size * batch_size for group in (wide, tall)]
    num_batches = len(sizes) // batch_size

    def shuffle(number, length, key):
        last = tf.constant(max(length - 1, 0), "int64")
        return tf.random.experimental.index_shuffle(number, key, last)

    def order(epoch, place):
        key = random_key(seed, FILE_ORDER, epoch)
        batch = shuffle(place // batch_size, num_batches, key)
        place = batch * batch_size + place % batch_size
        # Whole batches of wide images and of tall ones, then what is left of
        # both in this order.
        left = place - sum(whole)
        left_wide = len(wide) - whole[0]
        is_wide = tf.where(left < 0, place < whole[0], left < left_wide)
        of_wide = tf.where(left < 0, place, whole[0] + left)
        of_tall = tf.where(
            left < 0, place - whole[0], whole[1] + left - left_wide
        )
        return tf.cond(
            is_wide,
            lambda: tf.gather(groups[0], shuffle(of_wide, len(wide), key)),
            lambda: tf.gather(groups[1], shuffle(of_tall, len(tall), key)),
        )

    return order
