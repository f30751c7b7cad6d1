"""What several workers read of the batches of a detector.

A detector finds something else at the border of an image that is padded
further, and an R-CNN samples among other anchors. So the part of a batch that
a worker reads is padded as the whole batch is, of which it knows all sizes.
"""

from keras_epsanet.data.keys import INT64_MAX


def evaluation_order(num_images, batch_size, first_step, shard):
    """Indices, flips and numbers of the worker's images in their order.

    Args:
        num_images: Integer, images in all.
        batch_size, first_step, shard: As in `keras_epsanet.data.coco.load`.

    Returns:
        `tf.data.Dataset`.
    """
    import tensorflow as tf

    per_batch = batch_size // shard[1]
    numbers = tf.data.Dataset.range(first_step * batch_size, num_images)
    if shard[1] > 1:
        numbers = numbers.filter(
            lambda i: i % batch_size // per_batch == shard[0]
        )
    return numbers.map(lambda i: (i, False, i))


def in_order(place):
    """The index, the flip and the number of an image in evaluation."""
    return place, False, place


def places_of_step(batch_size, last, locate, step):
    """The images of a batch of all workers.

    Args:
        batch_size: As in `keras_epsanet.data.coco.load`.
        last: Integer, images in all; `None` for batches without an end.
        locate: Function from the place of an image in all batches to its
            index in the table, its flip and its number.
        step: Int64 tensor, number of the batch.

    Returns:
        Their indices and their numbers, int64 tensors.
    """
    import tensorflow as tf

    first, end = step * batch_size, (step + 1) * batch_size
    if last is not None:
        end = tf.minimum(end, last)
    return tf.map_fn(
        lambda place: locate(place)[::2],
        tf.range(first, end),
        fn_output_signature=("int64", "int64"),
    )


def pad_as_one(dataset, first_step, places, measure):
    """Pads the batches of a worker to the size of the whole batches.

    An image that takes the place of a bad one may be larger; so may one that
    is cut where its masks decide how, and what a function of the user makes.
    Then the worker's part is.

    Args:
        dataset: Batches of the worker, from `first_step` on.
        first_step: As in `keras_epsanet.data.coco.load`.
        places: Function from the number of a batch to the indices and the
            numbers of its images.
        measure: Function from both, arrays, to the size that these images
            are padded to together, int32 `(2,)`.

    Returns:
        `tf.data.Dataset`.
    """
    import tensorflow as tf

    def size(step):
        found = tf.numpy_function(measure, places(step), "int32")
        return tf.ensure_shape(found, (2,))

    def pad(batch, size):
        more = tf.maximum(size - tf.shape(batch["images"])[1:3], 0)
        pads = [(0, 0), (0, more[0]), (0, more[1]), (0, 0)]
        return {**batch, "images": tf.pad(batch["images"], pads)}

    sizes = tf.data.Dataset.range(first_step, INT64_MAX).map(
        size, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return tf.data.Dataset.zip(dataset, sizes).map(
        pad, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
