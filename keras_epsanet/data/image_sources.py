"""Numbered images in files or in shards, read in a random order or in theirs.

A split gives its images in chunks, the order of an epoch being a function of
the seed and the epoch, so that reading can begin anywhere. What is read is
not yet decoded.
"""

import dataclasses

import numpy as np

from keras_epsanet.data.bad_images import BadImages

LARGEST_CHUNK = 8
INT64_MAX = np.iinfo("int64").max
# Records that are mixed with one another: 0.2 GB of ImageNet.
MIXED_RECORDS = 2048
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


@dataclasses.dataclass(frozen=True)
class Slots:
    """Which slots of which batches are read.

    Attributes:
        batch_size: Integer, images in a batch of all workers.
        per_epoch: Integer, images that are read in an epoch.
        first, last: Integers, number of the first batch and of the one after
            the last.
        shard: Pair of integers, number of the worker and of all workers. A
            worker has a contiguous part of every batch.
    """

    batch_size: int
    per_epoch: int
    first: int
    last: int
    shard: tuple

    @property
    def begin(self):
        """First slot of the worker within a batch."""
        return self.shard[0] * self.size

    @property
    def size(self):
        """Number of the worker's slots in a batch."""
        return self.batch_size // self.shard[1]

    @property
    def chunk(self):
        """Number of slots that are read together, a divisor of `size`."""
        return max(
            n for n in range(1, LARGEST_CHUNK + 1) if self.size % n == 0
        )


class FileSplit:
    """Images that are files.

    Args:
        files: List of pairs, a path and the number of its class.
    """

    def __init__(self, files):
        self.files = [file for file, _ in files]
        self.labels = np.asarray([label for _, label in files], "int64")
        self.num_images = len(files)
        self.bad = BadImages(self.num_images)

    def name(self, index):
        return self.files[index]

    def read(self, index):
        """Returns the contents of a file and its class, in Python."""
        with open(self.files[index], "rb") as file:
            return file.read(), self.labels[index]

    def load(self, item):
        """The same in TensorFlow's graph, of an item of a chunk."""
        import tensorflow as tf

        file, label = item
        return tf.io.read_file(file), label

    def chunks(self, slots, seed=None):
        """Chunks of images that are read later.

        Args:
            slots: `Slots`.
            seed: Integer; `None` for the order of the files.

        Returns:
            A `tf.data.Dataset` of positions in the sequence of all epochs,
            numbers of the images and items, for `load`, all `(chunk,)`.
        """
        import tensorflow as tf

        files, labels = tf.constant(self.files), tf.constant(self.labels)
        per_batch = slots.size // slots.chunk

        def locate(number):
            batch, part = number // per_batch, number % per_batch
            positions = batch * slots.batch_size + slots.begin
            positions += part * slots.chunk
            positions += tf.range(slots.chunk, dtype="int64")
            epochs = positions // slots.per_epoch
            indices = positions % slots.per_epoch
            if seed is not None:
                # A batch belongs to one epoch.
                indices = tf.random.experimental.index_shuffle(
                    indices,
                    random_key(seed, FILE_ORDER, epochs[0]),
                    tf.constant(self.num_images - 1, "int64"),
                )
            items = tf.gather(files, indices), tf.gather(labels, indices)
            return positions, indices, items

        return tf.data.Dataset.range(
            slots.first * per_batch, min(slots.last * per_batch, INT64_MAX)
        ).map(locate)


class RecordSplit:
    """Images that are records of TFRecord files.

    The files of an epoch come in a random order, the records of some of them
    in a random order among one another, so that the files are read as a
    stream. Batches before the first are left out by whole groups of files.

    Args:
        files: List of paths.
        lengths: List of integers, number of records in each.
        image, label: Names of the features of the encoded image and of the
            class.
    """

    def __init__(self, files, lengths, image, label):
        pairs = [pair for pair in zip(files, lengths) if pair[1]]
        self.files = [str(file) for file, _ in pairs]
        self.lengths = np.asarray([n for _, n in pairs], "int64")
        self.ends = np.cumsum(self.lengths)
        self.num_images = int(self.lengths.sum())
        self.bad = BadImages(self.num_images)
        self._image, self._label = image, label

    def _place(self, index):
        shard = int(np.searchsorted(self.ends, index, side="right"))
        start = self.ends[shard] - self.lengths[shard]
        return self.files[shard], int(index - start)

    def name(self, index):
        file, number = self._place(index)
        return f"record {number} of {file}"

    def read(self, index):
        import tensorflow as tf

        file, number = self._place(index)
        records = tf.data.TFRecordDataset(file).skip(number)
        contents, label = self.load((next(iter(records)),))
        return contents.numpy(), label.numpy()

    def load(self, item):
        import tensorflow as tf

        (record,) = item
        features = tf.io.parse_single_example(
            record,
            {
                self._image: tf.io.FixedLenFeature((), "string"),
                self._label: tf.io.FixedLenFeature((), "int64"),
            },
        )
        return features[self._image], features[self._label]

    def chunks(self, slots, seed=None):
        import tensorflow as tf

        together = -(-MIXED_RECORDS * len(self.files) // self.num_images)
        per_epoch = -(-len(self.files) // together)
        first = slots.first * slots.batch_size
        epoch, offset = divmod(first, slots.per_epoch)
        lengths = self.lengths[self._file_order(seed, epoch).numpy()]
        ends = np.cumsum(lengths)[together - 1 :: together]
        first_group = epoch * per_epoch
        first_group += int(np.searchsorted(ends, offset, side="right"))

        def read(group):
            epoch, begin = group // per_epoch, group % per_epoch * together
            order = self._file_order(seed, epoch)
            key = seed is not None and random_key(seed, RECORD_ORDER, group)
            within, indices, records = self._read_group(
                order, begin, begin + together, key
            )
            positions = epoch * slots.per_epoch + within
            slot = positions % slots.batch_size
            kept = (positions >= first) & (within < slots.per_epoch)
            kept &= (slot >= slots.begin) & (slot < slots.begin + slots.size)
            positions, indices, records = (
                tf.boolean_mask(x, kept) for x in (positions, indices, records)
            )
            return positions, indices, (records,)

        dataset = tf.data.Dataset.range(first_group, INT64_MAX)
        dataset = dataset.map(read, num_parallel_calls=2).unbatch()
        dataset = dataset.batch(slots.chunk, drop_remainder=True)
        chunks = (slots.last - slots.first) * (slots.size // slots.chunk)
        return dataset.take(min(chunks, INT64_MAX))

    def _file_order(self, seed, epoch):
        import tensorflow as tf

        order = tf.range(len(self.files), dtype="int64")
        if seed is None:
            return order
        key = random_key(seed, FILE_ORDER, epoch)
        return tf.random.experimental.stateless_shuffle(order, key)

    def _read_group(self, order, begin, end, key):
        """Some files, as places in the epoch, numbers of images, records."""
        import tensorflow as tf

        lengths = tf.gather(self.lengths, order)
        ends = tf.gather(self.ends, order[begin:end])
        indices = tf.ragged.range(ends - lengths[begin:end], ends).values
        number = tf.size(indices, out_type="int64")
        files = tf.gather(self.files, order[begin:end])
        # One more, so that too many are noticed too.
        records = tf.data.TFRecordDataset(files).batch(number + 1)
        records = records.get_single_element()
        tf.debugging.assert_equal(
            tf.size(records, out_type="int64"),
            number,
            "The number of records is not that of the list of the shards.",
        )
        places = tf.range(number)
        if key is not False:
            places = tf.random.experimental.stateless_shuffle(places, key)
        within = tf.reduce_sum(lengths[:begin]) + tf.range(number)
        return within, tf.gather(indices, places), tf.gather(records, places)
