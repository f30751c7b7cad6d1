import os

import keras
import numpy as np
import pytest

from keras_epsanet.data.imagenet import record_blocks, record_split
from keras_epsanet.data.imagenet.file_split import Slots
from keras_epsanet.data.imagenet.record_split import RecordSplit

if keras.backend.backend() != "tensorflow":
    pytest.skip("made of tf.data", allow_module_level=True)

import tensorflow as tf

LENGTHS = [10, 0, 7, 4, 11]
NUM = sum(LENGTHS)
BATCH = 4
PER_EPOCH = NUM // BATCH * BATCH


def example(number):
    features = {
        "image": tf.train.Feature(
            bytes_list=tf.train.BytesList(value=[b"%d" % number])
        ),
        "label": tf.train.Feature(
            int64_list=tf.train.Int64List(value=[number])
        ),
    }
    features = tf.train.Features(feature=features)
    return tf.train.Example(features=features).SerializeToString()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Records that hold their number, one file of them without any."""
    # Of a name that is not text.
    folder = os.fsencode(tmp_path_factory.mktemp("records"))
    paths, number = [], 0
    for i, length in enumerate(LENGTHS):
        paths.append(os.fsdecode(os.path.join(folder, b"\xfc%d" % i)))
        with tf.io.TFRecordWriter(os.fsencode(paths[-1])) as writer:
            for _ in range(length):
                writer.write(example(number))
                number += 1
    return paths


@pytest.fixture
def small(monkeypatch):
    """Blocks of three records, two of them mixed."""
    monkeypatch.setattr(record_blocks, "BLOCK_RECORDS", 3)
    monkeypatch.setattr(record_split, "MIXED_BLOCKS", 2)


def open_split(files):
    return RecordSplit(files, LENGTHS, "image", "label")


def slots(first=0, last=100, shard=(0, 1), per_epoch=PER_EPOCH):
    return Slots(BATCH, per_epoch, first, last, shard)


def read(split, slots, seed=0, number=None):
    """Positions and numbers of the images, of which the labels are known."""
    rows = split.chunks(slots, seed).unbatch().take(number or 10**9)
    positions, indices, records = zip(*rows.as_numpy_iterator())
    labels = [int(split.load(item)[1]) for item in records]
    assert labels == list(indices)
    return list(map(int, positions)), labels


def test_every_record_comes_once_in_an_epoch(files, small):
    split = open_split(files)
    whole = slots(last=2 * NUM // BATCH, per_epoch=NUM)
    positions, labels = read(split, whole, number=2 * NUM)
    assert positions == list(range(2 * NUM))
    assert sorted(labels[:NUM]) == sorted(labels[NUM:]) == list(range(NUM))


def test_without_a_seed_they_come_in_their_order(files, small):
    positions, labels = read(open_split(files), slots(per_epoch=NUM), None, NUM)
    assert positions == labels == list(range(NUM))


@pytest.mark.parametrize("first", [1, 3, 7, 8, 9, 21])
def test_what_begins_later_is_what_would_have_followed(files, small, first):
    split = open_split(files)
    positions, labels = read(split, slots(last=24))
    begin = first * BATCH
    later = read(split, slots(first, 24))
    assert later == (positions[begin:], labels[begin:])


def test_no_group_before_the_first_is_read(files, small, monkeypatch):
    split = open_split(files)
    opened = []
    read_blocks = split._read_blocks

    def count(chosen):
        tf.numpy_function(lambda x: opened.append(list(x)), [chosen], [])
        return read_blocks(chosen)

    monkeypatch.setattr(split, "_read_blocks", count)
    # Of seven groups in an epoch the last two, and one ahead.
    read(split, slots(first=7), number=1)
    assert 1 <= len(opened) <= 3
    assert all(len(blocks) <= 2 for blocks in opened)


def test_only_some_blocks_are_mixed_with_one_another(files, small):
    split = open_split(files)
    counts = split._blocks[2]
    block_of = np.repeat(np.arange(len(counts)), counts)
    _, labels = read(split, slots(per_epoch=NUM), number=NUM)
    groups = []
    while labels:
        blocks = set(block_of[labels[:1]])
        for label in labels:
            if len(blocks) < 2:
                blocks.add(block_of[label])
        size = sum(counts[block] for block in blocks)
        assert set(block_of[labels[:size]]) == blocks
        groups.append(blocks)
        labels = labels[size:]
    assert len(groups) == 7 and len(set.union(*groups)) == len(counts) == 13


def orders(split, seeds=(0, 1), epochs=3):
    """Labels of some epochs for some seeds."""
    for seed in seeds:
        number = epochs * NUM
        whole = slots(last=number // BATCH, per_epoch=NUM)
        _, labels = read(split, whole, seed, number)
        yield from np.reshape(labels, (epochs, NUM)).tolist()


def all_differ(orders):
    orders = list(map(tuple, orders))
    return len(set(orders)) == len(orders) > 1


def test_order_of_blocks_changes_with_seed_and_epoch(files, monkeypatch):
    monkeypatch.setattr(record_blocks, "BLOCK_RECORDS", 1)
    monkeypatch.setattr(record_split, "MIXED_BLOCKS", 1)
    assert all_differ(orders(open_split(files)))


def test_order_in_a_group_changes_with_seed_and_epoch(files):
    # A block for each file, and a single group.
    split = open_split(files)
    split._block_order = lambda seed, epoch: tf.range(4, dtype="int64")
    assert all_differ(orders(split))


def test_groups_of_an_epoch_have_orders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(record_blocks, "BLOCK_RECORDS", 8)
    monkeypatch.setattr(record_split, "MIXED_BLOCKS", 1)
    path = str(tmp_path / "a")
    with tf.io.TFRecordWriter(path) as writer:
        for i in range(16):
            writer.write(example(i))
    split = RecordSplit([path], [16], "image", "label")
    _, labels = read(split, slots(per_epoch=16), number=16)
    first, second = np.reshape(labels, (2, 8)) % 8
    assert first.tolist() != second.tolist()


def test_parts_of_workers_are_the_batches(files, small):
    split = open_split(files)
    positions, labels = read(split, slots(last=16))
    expected = dict(zip(positions, labels))
    together = {}
    for worker in range(2):
        part = dict(zip(*read(split, slots(last=16, shard=(worker, 2)))))
        assert {i % BATCH // 2 for i in part} == {worker}
        together |= part
    assert together == expected


def test_single_records_are_found_again(files, small):
    split = open_split(files)
    for number in (0, 9, 10, 20, 31):
        contents, label = split.read(number)
        assert int(contents) == label == number
    # The second file is empty.
    assert split.name(12).startswith("record 2 of")
    assert split.name(12).endswith(r"\xfc2")


def test_another_number_of_records_is_refused(files):
    split = RecordSplit(files[:1], [9], "image", "label")
    with pytest.raises(ValueError, match=r"shards, 9. Received: .*0 with 10"):
        split.chunks(slots())


def test_a_file_that_becomes_shorter_is_an_error(tmp_path):
    path = str(tmp_path / "a")
    with tf.io.TFRecordWriter(path) as writer:
        for i in range(8):
            writer.write(example(i))
    split = RecordSplit([path], [8], "image", "label")
    chunks = split.chunks(slots(per_epoch=8))
    os.truncate(path, os.path.getsize(path) // 2)
    with pytest.raises(tf.errors.OpError, match="shorter"):
        next(iter(chunks))


def test_2048_records_are_mixed():
    size = record_split.MIXED_BLOCKS * record_blocks.BLOCK_RECORDS
    assert size == 2048
