"""Windows bitmaps (BMP), of which TensorFlow decodes some to wrong pixels.

TensorFlow takes the numbers of a palette for shades of gray, and knows none
of the compressed or packed kinds.
"""

import struct

import numpy as np

# Sizes of the two headers; Windows' second one may be longer.
FILE_HEADER, INFO_HEADER = 14, 40
UNCOMPRESSED, BIT_FIELDS = 0, 3
# Of red, green and blue in four bytes, as TensorFlow expects them.
USUAL_MASKS = (0xFF0000, 0xFF00, 0xFF)


def decode_bitmap(contents):
    """Decodes the contents of a BMP file.

    Args:
        contents: Bytes.

    Returns:
        Array or tensor, the RGB image as uint8 `(height, width, 3)`.

    Raises:
        ValueError: If the file is of a kind that is not read here, or
            damaged.
        tf.errors.OpError: If TensorFlow finds it damaged.
    """
    try:
        fields = struct.unpack_from("<IiiHHIIiiI", contents, FILE_HEADER)
        (begin,) = struct.unpack_from("<I", contents, 10)
    except struct.error:
        raise ValueError("the header of the bitmap is cut off") from None
    size, width, height, _, bits, compression = fields[:6]
    if size < INFO_HEADER:
        raise ValueError("it is a bitmap of OS/2, which is not supported")
    if bits in (1, 4, 8) and compression == UNCOMPRESSED:
        end = FILE_HEADER + size + 4 * (fields[9] or 2**bits)
        palette = contents[FILE_HEADER + size : min(begin, end)]
        return _look_up(contents[begin:], palette, height, width, bits)
    if not _is_known(contents, bits, compression):
        raise ValueError(
            f"it is a bitmap of {bits} bits with compression {compression}, "
            "which is not supported: save it as PNG"
        )
    import tensorflow as tf

    return tf.io.decode_bmp(contents)[..., :3]


def _is_known(contents, bits, compression):
    """Whether TensorFlow decodes a bitmap without palette rightly."""
    if compression == BIT_FIELDS and bits == 32:
        masks = contents[FILE_HEADER + INFO_HEADER :][:12]
        return len(masks) == 12 and struct.unpack("<3I", masks) == USUAL_MASKS
    return compression == UNCOMPRESSED and bits in (24, 32)


def _look_up(pixels, palette, height, width, bits):
    """The colors of a palette that rows of numbers stand for."""
    # Rows begin at multiples of four bytes, from the bottom up.
    row = -(-width * bits // 32) * 4
    rows, from_top = abs(height), height < 0
    if width < 1 or not rows or len(pixels) < row * rows:
        raise ValueError("the bitmap is cut off")
    numbers = np.frombuffer(pixels, "uint8", row * rows).reshape(rows, row)
    if bits < 8:
        shifts = np.arange(8 - bits, -1, -bits)
        numbers = (numbers[..., None] >> shifts) & (2**bits - 1)
    numbers = numbers.reshape(rows, -1)[:: 1 if from_top else -1, :width]
    # Blue, green, red and nothing. Numbers beyond the palette are black.
    colors = np.zeros((256, 3), "uint8")
    found = np.frombuffer(palette, "uint8")[: len(palette) // 4 * 4]
    colors[: len(found) // 4] = found.reshape(-1, 4)[:, 2::-1]
    return colors[numbers]
