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


def find_orientation(encoded):
    """`orientation` of a JPEG in TensorFlow's graph.

    Args:
        encoded: String tensor, the bytes of the JPEG file.

    Returns:
        Tensor int32.
    """
    import numpy as np
    import tensorflow as tf

    def find(contents):
        # Outside of a graph it is an array.
        return np.int32(orientation(bytes(contents)))

    found = tf.numpy_function(find, [encoded], "int32")
    found.set_shape(())
    return found


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


def upright_shape(shape, orientation):
    """Height and width of the upright image.

    Args:
        shape: Integer tensor, height and width of the image in the file.
        orientation: Integer or tensor int32, EXIF's.

    Returns:
        Integer tensor `(2,)`.
    """
    import tensorflow as tf

    return tf.where(orientation > 4, shape[1::-1], shape[:2])


def box_in_file(box, shape, orientation):
    """Where a part of the upright image lies in the image of the file.

    Args:
        box: Integer tensor, top, left, height and width.
        shape: Integer tensor, height and width of the image in the file.
        orientation: Integer or tensor int32, EXIF's.

    Returns:
        Integer tensor, top, left, height and width.
    """
    import tensorflow as tf

    begin, size = box[:2], box[2:]
    end = upright_shape(shape, orientation) - begin - size
    begin = tf.where(tf.stack(_flips(orientation)), end, begin)
    swapped = tf.concat((begin[::-1], size[::-1]), 0)
    return tf.where(orientation > 4, swapped, tf.concat((begin, size), 0))


def turn_upright(image, orientation):
    """Turns and mirrors an image as its orientation asks for.

    Args:
        image: Tensor `(height, width, channels)`.
        orientation: Integer or tensor int32, EXIF's.

    Returns:
        Tensor of the same type, from 5 on `(width, height, channels)`.
    """
    import tensorflow as tf

    orientation = tf.convert_to_tensor(orientation)
    image = tf.cond(
        orientation > 4,
        lambda: tf.transpose(image, (1, 0, 2)),
        lambda: tf.identity(image),
    )
    axes = tf.boolean_mask((0, 1), tf.stack(_flips(orientation)))
    return tf.reverse(image, axes)


def _flips(orientation):
    """Whether top and bottom, left and right change after transposing."""
    import tensorflow as tf

    orientation = tf.convert_to_tensor(orientation)
    vertical, horizontal = (
        tf.reduce_any(orientation == values)
        for values in ((3, 4, 7, 8), (2, 3, 6, 7))
    )
    return vertical, horizontal
