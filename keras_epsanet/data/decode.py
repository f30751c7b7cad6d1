"""Decodes an image file of any of the formats that are read."""

import os
import re

from keras_epsanet.data.bitmaps import decode_bitmap
from keras_epsanet.data.chunks import WEBP, find_chunk
from keras_epsanet.data.exif import TURNS, orientation, turn_upright
from keras_epsanet.data.file_names import printable


def decode_image(path):
    """Reads an image file.

    Args:
        path: Path of a JPEG, PNG, WebP, BMP or GIF file.

    Returns:
        Tensor, the upright RGB image as uint8 `(height, width, 3)`: what
        EXIF says about the orientation of the camera is heeded. Of an
        animation it is the first frame, of 16 bits the upper eight.
        Transparency is dropped.

    Raises:
        ValueError: If there is no such file or it cannot be decoded.
    """
    import tensorflow as tf

    try:
        contents = tf.io.read_file(os.fsencode(path))
    except tf.errors.OpError as error:
        raise _undecodable(path, error.message) from error
    except UnicodeDecodeError as error:
        # TensorFlow's message has the name, which is no text.
        raise _undecodable(path, "it cannot be read") from error
    return decode_contents(contents.numpy(), path)


def upright_size(path):
    """Reads the size of an image file, of a JPEG without decoding all of it.

    Args:
        path: As in `decode_image`.

    Returns:
        Pair of integers, height and width in pixels of what `decode_image`
        returns.

    Raises:
        ValueError: As of `decode_image`.
    """
    import tensorflow as tf

    try:
        contents = tf.io.read_file(os.fsencode(path)).numpy()
        if contents[:3] == b"\xff\xd8\xff":
            sides = tf.io.extract_jpeg_shape(contents)[:2].numpy().tolist()
            turn = TURNS[orientation(contents)]
            return tuple(sides[::-1] if turn and turn[0] else sides)
    except (tf.errors.OpError, UnicodeDecodeError):
        pass  # `decode_image` says what is wrong.
    return tuple(map(int, decode_image(path).shape[:2]))


def decode_contents(contents, name, upright=True):
    """Decodes the contents of an image file, as `decode_image` does.

    Args:
        contents: Bytes of a JPEG, PNG, WebP, BMP or GIF file.
        name: Name for the message of an error.
        upright: Whether what EXIF says about the orientation is heeded.

    Returns:
        Tensor, the RGB image as uint8 `(height, width, 3)`.

    Raises:
        ValueError: If they cannot be decoded.
    """
    import tensorflow as tf

    try:
        image = _decode(contents)
    except tf.errors.OpError as error:
        raise _undecodable(name, error.message) from error
    except ValueError as error:
        raise _undecodable(name, error) from error
    if not upright:
        return image
    return turn_upright(image, TURNS[orientation(contents)])


def _decode(contents):
    import tensorflow as tf

    if contents[:3] == b"\xff\xd8\xff":
        # As Pillow and the pipeline of ImageNet, not the faster way.
        return tf.io.decode_jpeg(
            contents, channels=3, dct_method="INTEGER_ACCURATE"
        )
    if contents[:4] == b"RIFF" and contents[8:12] == b"WEBP":
        # With or without transparency.
        return tf.image.decode_webp(_first_frame(contents))[0, ..., :3]
    if contents[:2] == b"BM":
        return tf.convert_to_tensor(decode_bitmap(contents))
    return tf.io.decode_image(contents, channels=3, expand_animations=False)


def _first_frame(contents):
    """A WebP file without animation, which TensorFlow 2.21 dies of."""
    header = find_chunk(contents, WEBP, b"VP8X")
    if not header or not header[0] & 2:
        return contents
    frame = find_chunk(contents, WEBP, b"ANMF")
    place, size = frame[:6], frame[6:12]
    if any(place) or size != header[4:10]:
        raise ValueError("the first frame of the animation is not whole")
    for name in (b"VP8 ", b"VP8L"):
        data = find_chunk(bytes(WEBP[0]) + frame[16:], WEBP, name)
        if data:
            length = len(data).to_bytes(4, "little")
            data = b"WEBP" + name + length + data + bytes(len(data) % 2)
            return b"RIFF" + len(data).to_bytes(4, "little") + data
    raise ValueError("the animation has no frame")


def _undecodable(name, reason):
    # Without the names of TensorFlow's operations round the message.
    reason = re.sub(r"^\{\{.*?\}\} | \[Op:.*", "", str(reason))
    # A sentence may follow.
    reason = reason.rstrip(".")
    return ValueError(
        f"{printable(name)} cannot be decoded as an image: {reason}"
    )
