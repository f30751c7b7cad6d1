"""Labeled images as `tf.data.Dataset`, one function for each source.

Every function returns an unbatched dataset of pairs: an image, uint8
`(height, width, channels)` with values from 0 to 255, and its class, an
int64 scalar. The dataset has the attributes `class_names`, a list of
strings, and `num_images`, an integer.
"""

from keras_epsanet.data import coco, imagenet, scenes
from keras_epsanet.data.decode import decode_image
from keras_epsanet.data.fashion_mnist import fashion_mnist
from keras_epsanet.data.image_folder import image_folder
from keras_epsanet.data.tfds import tfds
from keras_epsanet.lazy import attach

# Submodules, under former names too.
__getattr__, __dir__, _ = attach(__name__, {})

__all__ = [
    "coco",
    "decode_image",
    "fashion_mnist",
    "image_folder",
    "imagenet",
    "scenes",
    "tfds",
]
