"""Where blocks of consecutive records begin in a TFRecord file.

The format has no index: each record is its length as 8 bytes, a checksum of
4, its bytes and another checksum.
"""

import itertools
import os
import struct

from keras_epsanet import storage
from keras_epsanet.data.file_names import printable

# So many records or bytes, whichever is less, are read at one place: enough
# for a disk to be quick, and few enough to mix many of them. One of ImageNet
# is 7 MB.
BLOCK_RECORDS = 64
BLOCK_BYTES = 2**23
HEADER, OVERHEAD = struct.Struct("<QI"), 16


def to_blocks(lengths):
    """Divides the records of a file into blocks.

    Args:
        lengths: Iterable of integers, bytes of each record.

    Returns:
        List of `[records, bytes]`, with all that stands in the file.

    Example:

    >>> to_blocks([100] * 100)
    [[64, 7424], [36, 4176]]
    """
    blocks = []
    for length in lengths:
        size = length + OVERHEAD
        if (
            not blocks
            or blocks[-1][0] == BLOCK_RECORDS
            or blocks[-1][1] + size > BLOCK_BYTES
        ):
            blocks.append([0, 0])
        blocks[-1][0] += 1
        blocks[-1][1] += size
    return blocks


def scan_blocks(path):
    """Finds the blocks of a file by a small read for each record.

    Args:
        path: Path of a TFRecord file.

    Returns:
        As `to_blocks`.

    Raises:
        ValueError: If the file is cut off or of another format.
    """
    with storage.open_file(path, "rb", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        return to_blocks(_lengths(file, path, 0, end))


def read_record(path, offset, number):
    """Reads a record of a TFRecord file.

    Args:
        path: Path of the file.
        offset: Integer, where a block begins.
        number: Integer, number of the record in the block.

    Returns:
        Bytes.

    Raises:
        ValueError: If the file is cut off.
    """
    with storage.open_file(path, "rb", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        lengths = _lengths(file, path, offset, end)
        length = next(itertools.islice(lengths, number, None))
        # What follows its length and the checksum.
        return file.read(length)


def _lengths(file, path, position, end):
    while position < end:
        file.seek(position)
        header = file.read(HEADER.size)
        if len(header) == HEADER.size:
            length, _ = HEADER.unpack(header)
            position += length + OVERHEAD
        if len(header) < HEADER.size or position > end:
            raise ValueError(
                "A file of TFRecords must be whole. "
                f"Received: {printable(path)}"
            )
        yield length
