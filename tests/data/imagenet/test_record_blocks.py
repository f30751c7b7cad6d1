import os

import pytest
import tensorflow as tf

from keras_epsanet.data.imagenet.record_blocks import (
    BLOCK_BYTES,
    BLOCK_RECORDS,
    OVERHEAD,
    read_record,
    scan_blocks,
    to_blocks,
)


def write(path, lengths):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for length in lengths:
            writer.write(bytes(length))
    return str(path)


def test_blocks_are_bounded_in_records_and_bytes():
    half = BLOCK_BYTES // 2 - OVERHEAD
    lengths = [1] * (BLOCK_RECORDS + 2) + [half] * 3 + [3 * half, 7]
    blocks = to_blocks(lengths)
    assert [records for records, _ in blocks] == [BLOCK_RECORDS, 3, 2, 1, 1]
    assert blocks[0][1] == BLOCK_RECORDS * (1 + OVERHEAD)
    assert blocks[2][1] == BLOCK_BYTES
    sizes = [length + OVERHEAD for length in lengths]
    assert sum(size for _, size in blocks) == sum(sizes)


def test_no_records_are_no_blocks():
    assert to_blocks([]) == []


def test_scanned_blocks_are_those_that_were_written(tmp_path):
    lengths = [3, 0, 500] * 50
    path = write(tmp_path / "a", lengths)
    blocks = scan_blocks(path)
    assert blocks == to_blocks(lengths)
    assert sum(size for _, size in blocks) == os.path.getsize(path)


@pytest.mark.parametrize("kept", [3, 11, 12, 20, 139, 150])
def test_a_file_that_is_cut_off_is_refused_by_name(tmp_path, kept):
    path = write(tmp_path / "a", [100, 100])
    with open(path, "r+b") as file:
        file.truncate(kept)
    with pytest.raises(ValueError, match=f"whole. Received: {path}"):
        scan_blocks(path)


def test_another_format_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"something else altogether")
    with pytest.raises(ValueError, match="whole"):
        scan_blocks(str(tmp_path / "a"))


def test_a_record_is_read_by_its_number_in_a_block(tmp_path):
    path = str(tmp_path / "a")
    records = [b"one", b"", b"three", b"four"]
    with tf.io.TFRecordWriter(path) as writer:
        for record in records:
            writer.write(record)
    second = len(records[0]) + OVERHEAD
    assert [read_record(path, 0, i) for i in range(4)] == records
    assert [read_record(path, second, i) for i in range(3)] == records[1:]


def test_blocks_are_as_large_as_the_docs_say():
    assert (BLOCK_RECORDS, BLOCK_BYTES) == (64, 8 * 2**20)
