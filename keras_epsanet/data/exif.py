"""How a camera was held, and images turned accordingly.

Cameras store what their sensor saw and note by EXIF's orientation, from 1 to
8, how it is to be shown. It is read here from JPEG, PNG and WebP files, where
`PIL.ImageOps.exif_transpose` finds it too. A damaged note counts as none.
"""

import struct

from keras_epsanet.data.chunks import PNG, WEBP, find_chunk

TAG = 0x0112
SHORT, LONG = 3, 4
# Marker of JPEG's segments: for applications, comment.
APP0, APP1, APP15, COM = 0xE0, 0xE1, 0xEF, 0xFE
HEADER = b"Exif\0\0"
# A JPEG's start and a JFIF segment of 16 bytes, and the quantization table
# that follows it if there is no other note.
JFIF, TABLE = b"\xff\xd8\xff\xe0\x00\x10", b"\xff\xdb"
# How to make an image upright, for every orientation: the order of its axes,
# and whether top and bottom, and left and right, change places then.
TURNS = (
    None,
    (0, 1, 2, 0, 0),
    (0, 1, 2, 0, 1),
    (0, 1, 2, 1, 1),
    (0, 1, 2, 1, 0),
    (1, 0, 2, 0, 0),
    (1, 0, 2, 0, 1),
    (1, 0, 2, 1, 1),
    (1, 0, 2, 1, 0),
)


def orientation(contents):
    """Reads EXIF's orientation from the contents of an image file.

    Args:
        contents: Bytes of a file in any format.

    Returns:
        Integer from 1 to 8, 1 (upright) if there is none.
    """
    if contents[:2] == b"\xff\xd8":
        note = _find_in_jpeg(contents)
    elif contents[:8] == b"\x89PNG\r\n\x1a\n":
        note = find_chunk(contents, PNG, b"eXIf")
    elif contents[:4] == b"RIFF" and contents[8:12] == b"WEBP":
        note = find_chunk(contents, WEBP, b"EXIF")
    else:
        return 1
    value = _read_tag(note.removeprefix(HEADER))
    return value if 1 <= value <= 8 else 1


def _find_in_jpeg(contents):
    """The EXIF segment among those before the image itself, or nothing."""
    position = 2
    while position + 4 <= len(contents):
        mark, marker, length = struct.unpack_from(">BBH", contents, position)
        if mark != 0xFF or not (APP0 <= marker <= APP15 or marker == COM):
            break
        segment = contents[position + 4 : position + 2 + length]
        if marker == APP1 and segment.startswith(HEADER):
            return segment
        position += 2 + length
    return b""


def _read_tag(note):
    """The orientation in a TIFF header with its first directory, or 0."""
    order = {b"II": "<", b"MM": ">"}.get(note[:2])
    if order is None:
        return 0
    try:
        (directory,) = struct.unpack_from(f"{order}I", note, 4)
        (entries,) = struct.unpack_from(f"{order}H", note, directory)
        for i in range(entries):
            place = directory + 2 + 12 * i
            tag, kind = struct.unpack_from(f"{order}HH", note, place)
            if tag == TAG and kind in (SHORT, LONG):
                number = "H" if kind == SHORT else "I"
                return struct.unpack_from(order + number, note, place + 8)[0]
    except struct.error:
        # Cut off.
        pass
    return 0


def find_turn(encoded):
    """The row of `TURNS` for a JPEG, in TensorFlow's graph.

    Args:
        encoded: String tensor, the bytes of the JPEG file.

    Returns:
        Tensor int32 `(5,)`.
    """
    import numpy as np
    import tensorflow as tf

    def find(contents):
        # Outside of a graph it is an array.
        return np.asarray(TURNS[orientation(bytes(contents))], "int32")

    def ask_python():
        turn = tf.numpy_function(find, [encoded], "int32")
        turn.set_shape((5,))
        return turn

    return tf.cond(
        has_no_note(encoded), lambda: tf.constant(TURNS[1]), ask_python
    )


def has_no_note(encoded):
    """Whether a JPEG certainly has no EXIF, in TensorFlow's graph.

    Cheaper than to ask Python. True for what common encoders write.

    Args:
        encoded: String tensor, the bytes of the JPEG file.

    Returns:
        Tensor bool.
    """
    import tensorflow as tf

    start = tf.strings.substr(encoded, 0, len(JFIF))
    following = tf.strings.substr(encoded, 20, len(TABLE))
    return (start == JFIF) & (following == TABLE)


def box_in_file(box, shape, turn):
    """Where a part of the upright image lies in the image of the file.

    Args:
        box: Tensor int32, top, left, height and width.
        shape: Tensor int32, height and width of the upright image.
        turn: Row of `TURNS`.

    Returns:
        Tensor int32, top, left, height and width.
    """
    import tensorflow as tf

    begin, size = box[:2], box[2:]
    begin += turn[3:] * (shape - size - 2 * begin)
    corner_and_size = tf.gather(tf.stack((begin, size)), turn[:2], axis=1)
    return tf.reshape(corner_and_size, (4,))


def turn_upright(image, turn):
    """Turns and mirrors an image as its orientation asks for.

    Args:
        image: Tensor `(height, width, channels)`.
        turn: Row of `TURNS`.

    Returns:
        Tensor of the same type, height and width changed if need be.
    """
    import tensorflow as tf

    image = tf.transpose(image, turn[:3])
    return tf.reverse(image, tf.where(turn[3:])[:, 0])
