"""Batches that devices can share, with every image counted once.

Keras divides a batch evenly among devices. Where that is impossible, a device
gets fewer images or none: TensorFlow's convolutions on a CPU fail for none,
JAX divides nothing unevenly, and a mean over devices is not one over images.
Batches to train on must therefore fit. Those to evaluate are filled up with
images of weight 0, and because Keras divides the sum of the losses by the
number of all images, the weights of the others make up for those.
"""

import keras

from keras_epsanet.distribution.replicas import num_replicas, worker


def check_batch_size(batch_size, strategy, name="batch_size"):
    """Raises an error unless all devices get as many images of a batch.

    Args:
        batch_size: Integer, images in a batch of all devices together.
        strategy: What `keras_epsanet.distribution.make_strategy` returned.
        name: String, the name of the argument for the message.

    Raises:
        ValueError: If the devices do not divide the batch. The message names
            the nearest sizes that fit.

    Example:

    >>> from keras_epsanet.distribution import make_strategy
    >>> check_batch_size(13, make_strategy())  # One device takes any.
    """
    number = num_replicas(strategy)
    if batch_size > 0 and batch_size % number == 0:
        return
    lower = max(batch_size, 0) // number * number
    fitting = [size for size in (lower, lower + number) if size > 0]
    raise ValueError(
        f"`{name}` must be a positive multiple of the number of devices, "
        f"{number}: {' or '.join(map(str, fitting))} would fit. "
        f"Received: {name}={batch_size}"
    )


def pad_to_devices(dataset, strategy):
    """Fills up batches until the devices divide them, for evaluation.

    `model.evaluate` and `validation_data` of `model.fit` give the loss and
    the `weighted_metrics` of one device that gets every image once: the
    additional images have weight 0, and the others the same larger weight,
    for Keras takes the mean of the loss over all images. Images that had
    weight 0 before have no part in the loss either. (Keras' `metrics` ignore
    weights and would count them.)

    The batches are counted first, in one pass over the dataset; on one
    device, batches without weights stay as they are.

    Args:
        dataset: Finite batched `tf.data.Dataset` of images, `(images,
            labels)` or `(images, labels, weights)`, weights `(N,)`. Images
            and labels may be nested.
        strategy: What `keras_epsanet.distribution.make_strategy` returned.

    Returns:
        A `tf.data.Dataset` of `(images, labels, weights)`, or of images
        where there were only those. All batches have the size of the
        largest, rounded up to a multiple of the number of devices.

    Raises:
        ValueError: If there is no end of the batches, no image, or weights
            are not `(N,)`.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> from keras_epsanet.distribution import make_strategy
    >>> strategy = make_strategy()
    >>> with strategy.scope():
    ...     model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    ...     model.compile(loss="mse", weighted_metrics=["mae"])
    >>> images, labels = np.ones((13, 4)), np.ones((13, 2))
    >>> dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)
    >>> dataset = pad_to_devices(dataset, strategy)
    >>> sorted(model.evaluate(dataset, verbose=0, return_dict=True))
    ['loss', 'mae']
    """
    number = num_replicas(strategy)
    if number == 1 and not _has_weights(dataset):
        return dataset
    largest, batches, images = _count(dataset)
    size = -(-largest // number) * number
    return _fill_up(dataset, size, batches, size * batches / images)


def divide_batches(make_batches, strategy):
    """Batches for evaluation, of which every worker reads its part alone.

    On one machine it is `pad_to_devices(make_batches((0, 1)), strategy)`.
    Of several, each reads what `make_batches` returns for it, and counts it
    first; all take the same number of batches, and loss and
    `weighted_metrics` are those of all images of all workers.

    Args:
        make_batches: Function from `shard`, the number of a worker and of
            all workers, to a dataset as in `pad_to_devices`, such as one
            that calls `keras_epsanet.data.imagenet.evaluation_batches`.
        strategy: What `keras_epsanet.distribution.make_strategy` returned.

    Returns:
        `tf.data.Dataset`, or `tf.distribute.DistributedDataset` for several
        workers, for `model.evaluate` and `validation_data`.

    Raises:
        ValueError: As in `pad_to_devices`.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> from keras_epsanet.distribution import make_strategy
    >>> def make_batches(shard):
    ...     number, workers = shard
    ...     images = tf.data.Dataset.range(13).shard(workers, number)
    ...     return images.batch(4)
    >>> len(list(divide_batches(make_batches, make_strategy())))
    4
    """
    number, workers = worker(strategy)
    if workers == 1:
        return pad_to_devices(make_batches((0, 1)), strategy)
    dataset = make_batches((number, workers))
    largest, batches, images = _over_workers(
        strategy, _count(dataset, empty=True)
    )
    local = num_replicas(strategy) // workers
    size = -(-largest // local) * local
    dataset = _fill_up(
        dataset, size, batches, size * batches * workers / images, lacks=True
    )
    return strategy.distribute_datasets_from_function(
        lambda context: dataset.rebatch(size // local)
    )


def _over_workers(strategy, counts):
    """The largest batch, the most batches and the sum of the images."""
    import tensorflow as tf

    workers = worker(strategy)[1]
    counts = strategy.gather(
        strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant([counts], "int64")
        ),
        axis=0,
    ).numpy()
    largest, batches, _ = counts.max(axis=0)
    images = counts[:, 2].sum() // (len(counts) // workers)
    if not images:
        raise ValueError("There must be an image. Received: none")
    return int(largest), int(batches), int(images)


def _has_weights(dataset):
    spec = dataset.element_spec
    return isinstance(spec, tuple) and len(spec) == 3


def _size(images):
    import tensorflow as tf

    return tf.shape(tf.nest.flatten(images)[0], "int64")[0]


def _count(dataset, empty=False):
    """The size of the largest batch, the numbers of batches and of images."""
    import tensorflow as tf

    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            "The batches must have an end. "
            f"Received: infinite dataset {dataset}"
        )

    def add(counts, batch):
        batch = batch if isinstance(batch, tuple) else (batch,)
        images, _, weights = keras.utils.unpack_x_y_sample_weight(batch)
        size = _size(images)
        good = size
        if weights is not None:
            if getattr(weights.shape, "rank", None) not in (1, None):
                raise ValueError(
                    "Weights must be of images, (N,). "
                    f"Received: weights of shape {weights.shape}"
                )
            good = tf.math.count_nonzero(weights)
        largest, batches, total = counts
        batches += tf.cast(size > 0, "int64")
        return tf.maximum(largest, size), batches, total + good

    zeros = 3 * (tf.constant(0, "int64"),)
    counts = tuple(int(count) for count in dataset.reduce(zeros, add))
    if not counts[2] and not empty:
        raise ValueError(
            f"There must be an image. Received: {counts[1]} batches, no image"
        )
    return counts


def _fill_up(dataset, size, batches, scale, lacks=False):
    """Gives all batches one size, adds those it lacks, scales the weights."""
    import tensorflow as tf

    def has_images(*batch):
        return _size(keras.utils.unpack_x_y_sample_weight(batch)[0]) > 0

    def fill(*batch):
        images, labels, weights = keras.utils.unpack_x_y_sample_weight(batch)
        count = _size(images)
        places = tf.range(size, dtype="int64")
        filled = places >= count
        # An image again: one of zeros might give NaN, which no weight undoes.
        places = tf.minimum(places, count - 1)

        def take(x):
            return tf.ensure_shape(tf.gather(x, places), (size, *x.shape[1:]))

        images = tf.nest.map_structure(take, images)
        if labels is None:
            return images
        labels = tf.nest.map_structure(take, labels)
        weights = 1.0 if weights is None else take(weights)
        weights = tf.where(filled, 0.0, scale * tf.cast(weights, "float32"))
        return images, labels, weights

    dataset = dataset.filter(has_images)
    dataset = dataset.map(fill, num_parallel_calls=tf.data.AUTOTUNE)
    if lacks:
        # Workers whose images end sooner take batches of weight 0.
        nothing = tf.nest.map_structure(
            lambda spec: tf.zeros(spec.shape, spec.dtype), dataset.element_spec
        )
        nothing = tf.data.Dataset.from_tensors(nothing).repeat()
        dataset = dataset.concatenate(nothing).take(batches)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(batches))
    options = tf.data.Options()
    # By files, workers would not have the same number of batches.
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.DATA
    )
    return dataset.with_options(options).prefetch(tf.data.AUTOTUNE)
