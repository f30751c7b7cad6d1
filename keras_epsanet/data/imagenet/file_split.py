"""Numbered images in files, read in a random order or in that of the files.

A split gives its images in chunks, the order of an epoch being a function of
the seed and the epoch, so that reading can begin anywhere. What is read is
not yet decoded. `record_split.py` does the same for shards of TFRecords.
"""

import dataclasses
import os

import numpy as np

from keras_epsanet import storage
from keras_epsanet.data.bad_images import BadImages
from keras_epsanet.data.keys import FILE_ORDER, INT64_MAX, random_key

LARGEST_CHUNK = 32


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
        return max(n for n in range(1, LARGEST_CHUNK + 1) if self.size % n == 0)


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
        with storage.open_file(self.files[index], "rb") as file:
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

        # As bytes, for names of files need not be text.
        files = tf.constant([os.fsencode(file) for file in self.files])
        labels = tf.constant(self.labels)
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
