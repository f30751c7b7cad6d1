"""What the batches of a detector may be asked for."""

import warnings

import numpy as np

from keras_epsanet.data.coco.annotations import name_some
from keras_epsanet.data.coco.transforms import FORMATS
from keras_epsanet.integers import check_positive, is_integer, is_positive


def checked_numbers(
    batch_size, image_size, pad_to, shard, max_objects, seed, first_step
):
    """Checks numbers of `keras_epsanet.data.coco.load`.

    Args:
        batch_size, image_size, pad_to, shard, max_objects, seed, first_step:
            As there.

    Returns:
        The same as integers of Python and tuples of them. NumPy's have a
        width, which may be too small for what they are multiplied with.

    Raises:
        ValueError: If one is out of range.
    """
    if not _is_shard(shard):
        raise ValueError(
            "`shard` must be the number of a worker, from 0 on, and of all "
            f"workers. Received: shard={shard!r}"
        )
    if not is_positive(batch_size) or batch_size % shard[1]:
        raise ValueError(
            "`batch_size` must be a positive multiple of the number of "
            f"workers. Received: batch_size={batch_size!r}, shard={shard}"
        )
    if not _is_pair(image_size) or image_size[0] > image_size[1]:
        raise ValueError(
            "`image_size` must be a pair of positive integers, the shorter "
            "and the longer side, such as (800, 1333). "
            f"Received: image_size={image_size!r}"
        )
    if not _is_pair(pad_to) and not is_positive(pad_to):
        raise ValueError(
            "`pad_to` must be a positive integer or a pair of them. "
            f"Received: pad_to={pad_to!r}"
        )
    check_positive(max_objects=max_objects)
    if not _is_from_0(seed) or seed >= 2**31:
        raise ValueError(
            "`seed` must be an integer from 0 to 2**31 - 1. "
            f"Received: seed={seed!r}"
        )
    if not _is_from_0(first_step):
        raise ValueError(
            "`first_step` must be an integer from 0 on. "
            f"Received: first_step={first_step!r}"
        )
    found = batch_size, image_size, pad_to, shard, max_objects, seed, first_step
    return tuple(int(x) if _is_from_0(x) else tuple(map(int, x)) for x in found)


def check_num_images(path, batch_size, num_images, training):
    """Checks that there are images.

    Args:
        path: Path of the annotation file, for messages.
        batch_size, training: As in `keras_epsanet.data.coco.load`.
        num_images: Integer, images that batches are made of.

    Raises:
        ValueError: If there is none or, for training, no batch.
    """
    if training and num_images < batch_size:
        raise ValueError(
            "There must be a batch of images with objects at least. Received: "
            f"batch_size={batch_size}, {num_images} images in {path}"
        )
    if not num_images:
        raise ValueError(
            f"There must be an image to evaluate. Received: 0 images in {path}"
        )


def check_format(bounding_box_format):
    """Raises a `ValueError` for a format that is not among `FORMATS`."""
    if bounding_box_format not in FORMATS:
        raise ValueError(
            f"`bounding_box_format` must be one of {', '.join(FORMATS)}. "
            f"Received: bounding_box_format={bounding_box_format!r}"
        )


def check_sizes(sizes, pad_to):
    """Raises a `ValueError` if an image is larger than it is padded to.

    Args:
        sizes: List of pairs of integers, heights and widths in pixels.
        pad_to: As in `keras_epsanet.data.coco.load`.
    """
    if not isinstance(pad_to, int) and np.any(np.array(sizes) > pad_to):
        raise ValueError(
            "`pad_to` must not be less than a resized image. "
            f"Received: pad_to={pad_to}, an image of {max(sizes)}"
        )


def warn_of_many(path, images, max_objects):
    """Warns of images with more objects than a batch holds.

    Args:
        path: Path of the annotation file.
        images: List of `Image`s.
        max_objects: Integer.
    """
    crowded = [x.id for x in images if len(x.labels) > max_objects]
    if crowded:
        warnings.warn(
            f"{len(crowded)} images of {path} have more than {max_objects} "
            f"objects, of which the first are taken: {name_some(crowded)}",
            stacklevel=3,
        )


def _is_from_0(value):
    return is_integer(value) and value >= 0


def _is_pair(value, is_number=is_positive):
    """Whether a value is two positive integers, or two of another kind."""
    return (
        not isinstance(value, (str, bytes))
        and hasattr(value, "__len__")
        and len(value) == 2
        and all(map(is_number, value))
    )


def _is_shard(value):
    return _is_pair(value, _is_from_0) and value[0] < value[1]
