"""Pictures of any size, as a detector takes them, and what it finds in them."""

import collections
import os
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_epsanet.data.coco.transforms import (
    PAD_TO,
    padded_size,
    resized_size,
)
from keras_epsanet.data.decode import decode_image
from keras_epsanet.detection.boxes import convert
from keras_epsanet.detection.mask_head import paste_masks
from keras_epsanet.detection.settings import integer_from
from keras_epsanet.models.preprocessing import preprocess_input


class Prepared(NamedTuple):
    """A picture as a detector takes it.

    Attributes:
        inputs: Float array `(height, width, 3)`, normalized and padded.
        size: Pair of integers, height and width before padding.
        sides: Pair of integers, height and width of the picture itself.
    """

    inputs: Any
    size: tuple
    sides: tuple


def detect(detector, images, min_score=0.0, batch_size=1):
    """Finds the objects of pictures, as `Detector.detect` does.

    Args:
        detector: `Detector`.
        images, min_score, batch_size: As in `Detector.detect`.

    Returns:
        What `Detector.detect` returns.

    Raises:
        ValueError: As of `Detector.detect`.
    """
    pictures = images if isinstance(images, (list, tuple)) else [images]
    if not pictures:
        raise ValueError(f"There must be a picture. Received: images={images}")
    if detector.input_shape[-1] != 3:
        raise ValueError(
            "`detect` needs a detector of RGB images. "
            f"Received: a detector of the input shape {detector.input_shape}"
        )
    batch_size = integer_from(1)("batch_size", batch_size)
    results, waiting, full = {}, collections.defaultdict(dict), set()
    for i, picture in enumerate(pictures):
        pixels = read_picture(picture, f"images[{i}]")
        prepared = prepare(
            pixels, detector.image_size, detector.input_shape[1:3]
        )
        shape = prepared.inputs.shape
        waiting[shape][i] = prepared
        if len(waiting[shape]) == batch_size:
            full.add(shape)
            ready = waiting.pop(shape)
            results |= _predict(detector, ready, batch_size, min_score)
    for shape, rest in waiting.items():
        # The shape of a batch before, for which there is a program already.
        rows = batch_size if shape in full else len(rest)
        results |= _predict(detector, rest, rows, min_score)
    if pictures is not images:
        return results[0]
    return [results[i] for i in range(len(pictures))]


def read_picture(picture, name):
    """Reads the pixels of a picture in any form.

    Args:
        picture: Path, image of Pillow, or array or tensor
            `(height, width, 3)` or `(height, width, 1)`.
        name: String, name of the picture in messages.

    Returns:
        Array `(height, width, 3)`, RGB from 0 to 255. A file is turned
        upright, as by `keras_epsanet.data.decode_image`.

    Raises:
        ValueError: If the file cannot be read, or the array is no picture.

    Example:

    >>> read_picture(np.full((2, 4, 1), 7, "uint8"), "gray").shape
    (2, 4, 3)
    """
    if isinstance(picture, (str, os.PathLike)):
        try:
            return np.asarray(decode_image(picture))
        except ValueError as error:
            raise ValueError(
                f"{error}. Received: {name}={os.fspath(picture)!r}"
            ) from error
    if hasattr(picture, "getbands"):  # An image of Pillow.
        if picture.mode.startswith(("I", "F")):
            raise ValueError(
                "An image of Pillow must have 8 bits a channel. "
                f"Received: {name} of the mode {picture.mode}"
            )
        return np.asarray(picture.convert("RGB"))
    if keras.ops.is_tensor(picture):
        picture = keras.ops.convert_to_numpy(picture)
    pixels = np.asarray(picture)
    if pixels.ndim != 3 or pixels.shape[-1] not in (1, 3) or not pixels.size:
        raise ValueError(
            "A picture must be a path, an image of Pillow, or an array "
            "(height, width, 3); pictures must be a list of them. "
            f"Received: {name}, {type(picture).__name__} of the shape "
            f"{pixels.shape}"
        )
    # Not the other way round, which would let NaN pass.
    if not (pixels.min() >= 0 and pixels.max() <= 255):
        raise ValueError(
            "The values of a picture must be from 0 to 255. "
            f"Received: {name} from {pixels.min()} to {pixels.max()}"
        )
    return np.repeat(pixels, 3 // pixels.shape[-1], axis=-1)


def prepare(pixels, image_size, limits=(None, None)):
    """Resizes a picture as in training, normalizes and pads it.

    Args:
        pixels: Array `(height, width, 3)`, RGB from 0 to 255.
        image_size: Pair of integers, the shorter side after resizing, and
            what the longer must not exceed, in pixels.
        limits: Pair, the height and the width of all inputs of the detector,
            which the picture must fit in; `None` for any.

    Returns:
        `Prepared`.

    Example:

    >>> prepared = prepare(np.zeros((30, 40, 3)), (60, 100))
    >>> prepared.size, prepared.inputs.shape
    ((60, 80), (64, 96, 3))
    """
    sides = pixels.shape[:2]
    size = resized_size(sides, image_size)
    shares = [limit / x for limit, x in zip(limits, size) if limit]
    if min(shares, default=1) < 1:
        size = tuple(max(1, int(x * min(shares))) for x in size)
    inputs = preprocess_input(resize(pixels, size), "channels_last")
    padded = padded_size(size, PAD_TO)
    pads = [
        (0, (limit or whole) - x)
        for limit, whole, x in zip(limits, padded, size)
    ]
    return Prepared(np.pad(inputs, [*pads, (0, 0)]), size, sides)


def resize(pixels, size):
    """Resizes a picture, bilinear and without antialiasing.

    What `tf.image.resize` does to the images of a training, on any backend;
    nothing is compiled for the size of each picture.

    Args:
        pixels: Array `(height, width, channels)`.
        size: Pair of integers, height and width wanted.

    Returns:
        Array float32 `(*size, channels)`.

    Example:

    >>> resize(np.array([[[0], [8]]]), (1, 4))[0, :, 0].tolist()
    [0.0, 2.0, 6.0, 8.0]
    """
    top, bottom, down = _neighbors(pixels.shape[0], size[0])
    left, right, across = _neighbors(pixels.shape[1], size[1])
    down, across = down[:, None, None], across[:, None]

    # In place, for a picture may be large.
    def mix(first, second, share):
        second -= first
        second *= share
        second += first
        return second

    def resize_row(numbers):
        rows = np.take(pixels, numbers, axis=0)
        first, second = (
            np.take(rows, columns, axis=1).astype("float32")
            for columns in (left, right)
        )
        return mix(first, second, across)

    return mix(resize_row(top), resize_row(bottom), down)


def _neighbors(before, after):
    """Pixels on both sides of each new one, and the share of the second.

    In float32, as TensorFlow computes them.
    """
    scale = np.float32(before / after)
    places = (np.arange(after, dtype="float32") + np.float32(0.5)) * scale
    places -= np.float32(0.5)
    first = np.floor(places)
    shares = places - first
    second = np.ceil(places)
    first, second = (
        np.clip(x, 0, before - 1).astype("int32") for x in (first, second)
    )
    return first, second, shares


def place_boxes(boxes, prepared):
    """Returns boxes of what a detector takes in the pixels of the picture.

    Args:
        boxes: Array `(K, 4)`, x1, y1, x2, y2.
        prepared: `Prepared`.

    Returns:
        Float32 array `(K, 4)`, within the picture.

    Example:

    >>> prepared = prepare(np.zeros((30, 40, 3)), (60, 100))
    >>> place_boxes([[0, 10, 50, 90]], prepared).tolist()
    [[0.0, 5.0, 25.0, 30.0]]
    """
    sides = np.array(prepared.sides)
    scale = np.tile((sides / prepared.size)[::-1], 2)
    boxes = np.clip(boxes * scale, 0, np.tile(sides[::-1], 2))
    return boxes.astype("float32")


def _predict(detector, prepared, rows, min_score):
    """Results of pictures of one padded shape, by their numbers."""
    values = list(prepared.values())
    values += (rows - len(values)) * [
        values[0]._replace(inputs=np.zeros_like(values[0].inputs))
    ]
    batch = {
        "images": np.stack([value.inputs for value in values]),
        "image_size": np.array([value.size for value in values], "int32"),
    }
    found = detector.predict(batch, batch_size=rows, verbose=0)
    return {
        number: _place(
            detector,
            {name: x[row] for name, x in found.items()},
            values[row],
            min_score,
        )
        for row, number in enumerate(prepared)
    }


def _place(detector, found, prepared, min_score):
    """What was found in one picture, in the pixels of the picture."""
    good = np.arange(len(found["labels"])) < found["num_detections"]
    good &= found["confidence"] >= min_score
    boxes = convert(
        found["boxes"][good],
        detector.bounding_box_format,
        "xyxy",
        prepared.inputs.shape[:2],
    )
    boxes = place_boxes(keras.ops.convert_to_numpy(boxes), prepared)
    labels = found["labels"][good].astype("int32")
    result = {
        "boxes": boxes,
        "labels": labels,
        "scores": found["confidence"][good].astype("float32"),
    }
    if detector.class_names is not None:
        names = [detector.class_names[label] for label in labels]
        result["class_names"] = names
    if "masks" in found:
        masks = paste_masks(found["masks"][good], boxes, *prepared.sides)
        result["masks"] = masks.view(bool)
    return result
