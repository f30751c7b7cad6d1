"""What to do about files that are not the JPEG images they should be."""

import threading
import warnings

from keras_epsanet.data.decode import decode_contents
from keras_epsanet.data.file_names import printable

# Of what is made a JPEG only for reading it.
QUALITY = 95
# So many bad images are allowed however few there are in all.
ALLOWED = 3
# After so many bad images in a row something else must be wrong.
ATTEMPTS = 100


def as_jpeg(contents, name, quality=QUALITY):
    """Gives an image as a JPEG that TensorFlow decodes as RGB.

    A JPEG in gray or color stays as it is, byte by byte. One in CMYK and
    images of other formats, whatever their name says, are encoded anew, and
    upright.

    Args:
        contents: Bytes of a JPEG, PNG, WebP, BMP or GIF file.
        name: Name of the file for the message of an error.
        quality: Integer from 1 to 100, quality of a new JPEG.

    Returns:
        Bytes of a JPEG file.

    Raises:
        ValueError: If the image cannot be decoded.
    """
    import tensorflow as tf

    # All of it is decoded, for a file may be cut off.
    image = decode_contents(contents, name)
    if contents[:3] == b"\xff\xd8\xff":
        if tf.io.extract_jpeg_shape(contents)[2] in (1, 3):
            return contents
    return tf.io.encode_jpeg(
        image, quality=quality, chroma_downsampling=False
    ).numpy()


class BadImages:
    """The images that could not be read or decoded, each once.

    Args:
        num_images: Integer, number of all images.

    Attributes:
        names: List of strings, in the order in which they were found.
    """

    def __init__(self, num_images):
        self.names = []
        self._seen = set()
        self._num_images = num_images
        self._lock = threading.Lock()

    def add(self, name, error):
        """Notes a bad image and warns of it the first time.

        Args:
            name: String.
            error: The exception.

        Raises:
            ValueError: If more than 1 % of all images are bad, and more than
                three.
        """
        name = printable(name)
        with self._lock:
            new = name not in self._seen
            if new:
                self._seen.add(name)
                self.names.append(name)
        if new:
            warnings.warn(f"An image is skipped. {error}", stacklevel=2)
        check_share(self.names, self._num_images)


def check_share(bad, num_images):
    """Refuses a data set with too many bad images.

    Args:
        bad: List of the names of bad images.
        num_images: Integer, number of all images.

    Raises:
        ValueError: If more than 1 % of all images are bad, and more than
            three.
    """
    if len(bad) > max(ALLOWED, num_images // 100):
        raise ValueError(
            f"More than 1 % of the images are bad: {len(bad)} of "
            f"{num_images}, such as {', '.join(bad[-5:])}"
        )
