"""Finds a part of a file that is made of chunks, such as PNG and WebP."""

import struct

# Where the first chunk begins, the header of each, what follows its contents.
PNG = (8, ">I4s", 4)
WEBP = (12, "<4sI", 0)


def find_chunk(contents, kind, name):
    """Finds the first chunk of a name.

    Args:
        contents: Bytes of the file.
        kind: `PNG` or `WEBP`.
        name: Bytes, the four letters.

    Returns:
        Bytes, the contents of the chunk; none if there is no such.
    """
    position, header, trailer = kind
    while position + 8 <= len(contents):
        fields = struct.unpack_from(header, contents, position)
        length, found = fields if kind is PNG else fields[::-1]
        position += 8
        if found == name:
            return contents[position : position + length]
        # WebP pads to even lengths; a PNG has a checksum.
        position += length + (trailer or length % 2)
    return b""
