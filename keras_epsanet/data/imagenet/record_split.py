"""Numbered images that are records of TFRecord files."""

import concurrent.futures
import functools
import os

import numpy as np

from keras_epsanet.data.bad_images import BadImages
from keras_epsanet.data.file_names import printable
from keras_epsanet.data.imagenet.record_blocks import (
    BLOCK_RECORDS,
    read_record,
    scan_blocks,
)
from keras_epsanet.data.keys import (
    FILE_ORDER,
    INT64_MAX,
    RECORD_ORDER,
    random_key,
)

# Blocks whose records are mixed with one another: 2,048 records or 0.27 GB.
MIXED_BLOCKS = 32
# Files that are read at a time, and bytes that are read ahead of each.
READERS = 4
BUFFER = 2**18
# Threads that look for blocks.
SCANNERS = 16


class RecordSplit:
    """Images that are records of TFRecord files.

    The files are read in blocks of consecutive records. The blocks of an
    epoch come in a random order, the records of `MIXED_BLOCKS` of them in a
    random order among one another. So two such groups are in memory, however
    large the files are, and batches before the first are left out by whole
    groups.

    Args:
        files: List of paths.
        lengths: List of integers, number of records in each.
        image, label: Names of the features of the encoded image and of the
            class.
        blocks: List of what `to_blocks` returned for each file; `None` to
            look for them before the first batch.
    """

    def __init__(self, files, lengths, image, label, blocks=None):
        blocks = blocks or [None] * len(files)
        rows = [row for row in zip(files, lengths, blocks) if row[1]]
        self.files = [os.fspath(file) for file, _, _ in rows]
        # As bytes, for names of files need not be text.
        self._paths = [os.fsencode(file) for file in self.files]
        self.lengths = [n for _, n, _ in rows]
        self.num_images = int(sum(self.lengths))
        self.bad = BadImages(self.num_images)
        self._given = [found for _, _, found in rows]
        self._image, self._label = image, label

    @functools.cached_property
    def _blocks(self):
        """Numbers of the files, offsets, numbers of records and the first."""
        given = self._given
        if None in given:
            with concurrent.futures.ThreadPoolExecutor(SCANNERS) as pool:
                given = list(pool.map(scan_blocks, self.files))
        rows = []
        for i, (blocks, length) in enumerate(zip(given, self.lengths)):
            records, sizes = np.transpose(np.asarray(blocks, "int64"))
            if records.sum() != length:
                raise ValueError(
                    "The number of records must be that of the list of the "
                    f"shards, {length}. Received: {printable(self.files[i])} "
                    f"with {records.sum()}"
                )
            offsets = np.cumsum(sizes) - sizes
            rows.append((np.full_like(records, i), offsets, records))
        numbers, offsets, records = map(np.concatenate, zip(*rows))
        return numbers, offsets, records, np.cumsum(records) - records

    def _place(self, index):
        """Number of a block and of a record in it."""
        first = self._blocks[3]
        block = int(np.searchsorted(first, index, side="right")) - 1
        return block, int(index - first[block])

    def name(self, index):
        ends = np.cumsum(self.lengths)
        file = int(np.searchsorted(ends, index, side="right"))
        number = int(index - ends[file] + self.lengths[file])
        return f"record {number} of {printable(self.files[file])}"

    def read(self, index):
        block, number = self._place(index)
        numbers, offsets, _, _ = self._blocks
        file = self.files[numbers[block]]
        record = read_record(file, offsets[block], number)
        contents, label = self.load((record,))
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

        counts = self._blocks[2]
        groups = -(-len(counts) // MIXED_BLOCKS)
        first = slots.first * slots.batch_size
        epoch, offset = divmod(first, slots.per_epoch)
        ends = np.cumsum(counts[self._block_order(seed, epoch).numpy()])
        ends = ends[MIXED_BLOCKS - 1 :: MIXED_BLOCKS]
        first_group = epoch * groups
        first_group += int(np.searchsorted(ends, offset, side="right"))

        def read(group):
            epoch, number = group // groups, group % groups
            order = self._block_order(seed, epoch)
            begin = number * MIXED_BLOCKS
            chosen = order[begin : begin + MIXED_BLOCKS]
            before = tf.reduce_sum(tf.gather(counts, order[:begin]))
            places = tf.range(tf.reduce_sum(tf.gather(counts, chosen)))
            within = before + places
            positions = epoch * slots.per_epoch + within
            if seed is not None:
                key = random_key(seed, RECORD_ORDER, group)
                places = tf.random.experimental.stateless_shuffle(places, key)
            slot = positions % slots.batch_size
            kept = (positions >= first) & (within < slots.per_epoch)
            kept &= (slot >= slots.begin) & (slot < slots.begin + slots.size)
            places = tf.boolean_mask(places, kept)
            indices, records = (
                tf.gather(x, places) for x in self._read_blocks(chosen)
            )
            return tf.boolean_mask(positions, kept), indices, (records,)

        # One group is read while the one before is used up.
        dataset = tf.data.Dataset.range(first_group, INT64_MAX)
        dataset = dataset.map(read).prefetch(1).unbatch()
        dataset = dataset.batch(slots.chunk, drop_remainder=True)
        chunks = (slots.last - slots.first) * (slots.size // slots.chunk)
        return dataset.take(min(chunks, INT64_MAX))

    def _block_order(self, seed, epoch):
        import tensorflow as tf

        order = tf.range(len(self._blocks[0]), dtype="int64")
        if seed is None:
            return order
        key = random_key(seed, FILE_ORDER, epoch)
        return tf.random.experimental.stateless_shuffle(order, key)

    def _read_blocks(self, chosen):
        """Numbers of the images in some blocks, and the records."""
        import tensorflow as tf

        numbers, offsets, counts, first = (
            tf.gather(column, chosen) for column in self._blocks
        )
        files = tf.gather(self._paths, numbers)
        total = tf.reduce_sum(counts)
        records = (
            tf.data.Dataset.from_tensor_slices((files, offsets, counts))
            .interleave(
                lambda file, offset, count: _open_records(file, offset).take(
                    count
                ),
                cycle_length=READERS,
                # A whole block, so that they come in their order.
                block_length=BLOCK_RECORDS,
                num_parallel_calls=READERS,
                deterministic=True,
            )
            .batch(total)
            .get_single_element()
        )
        whole = tf.debugging.assert_equal(
            tf.size(records, out_type="int64"),
            total,
            "A file of TFRecords has become shorter.",
        )
        with tf.control_dependencies([whole]):
            records = tf.identity(records)
        return tf.ragged.range(first, first + counts).values, records


def _open_records(file, offset):
    """The records of a file from a byte on, for datasets within functions.

    `TFRecordDataset` has no such argument. The operation cannot be written
    down outside of a function, as a dataset that is iterated over has to be.
    """
    import tensorflow as tf

    records = tf.raw_ops.TFRecordDatasetV2(
        filenames=[file],
        compression_type="",
        buffer_size=BUFFER,
        byte_offsets=[offset],
    )
    return tf.data.experimental.from_variant(
        records, tf.TensorSpec((), "string")
    )
