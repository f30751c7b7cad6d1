"""The images of a COCO data set as a table from which TensorFlow reads."""

import numpy as np

from keras_epsanet import storage
from keras_epsanet.data.bad_images import ATTEMPTS
from keras_epsanet.data.coco.masks import (
    SIDE,
    crop_objects,
    draw_planes,
    encode_planes,
)
from keras_epsanet.data.decode import decode_contents
from keras_epsanet.data.exif import TURNS, orientation, turn_upright
from keras_epsanet.data.file_names import printable


class Table:
    """What `coco.load` reads of chosen images, by their place in the table.

    Args:
        images: List of `Image`.
        sizes: List of pairs, height and width after resizing.
        padded: List of pairs, height and width after padding.
        max_objects: Integer, rows of boxes.
        bad_images: `BadImages`.
        replace: Whether an image that cannot be read is replaced by the next
            one; otherwise by nothing, black pixels of its size.
    """

    def __init__(self, images, sizes, padded, max_objects, bad_images, replace):
        self._images, self._max_objects = images, max_objects
        self._bad_images, self._replace = bad_images, replace
        self._sizes = np.array(sizes, "int32").reshape(-1, 2)
        self._padded = np.array(padded, "int32").reshape(-1, 2)
        self._originals = np.array(
            [(image.height, image.width) for image in images], "int32"
        ).reshape(-1, 2)
        self._ids = np.array([image.id for image in images], "int64")

    def read(self, index, flip, masks):
        """A dictionary as `coco.load` returns, of one image as in its file.

        Masks and their grids are flipped already if `flip` is true.
        """
        import tensorflow as tf

        image, index, good = tf.numpy_function(
            self._decode, [index], ["uint8", "int64", "bool"]
        )
        image.set_shape((None, None, 3))
        for x in (index, good):
            x.set_shape(())
        boxes, labels = tf.numpy_function(
            self._objects, [index, good], ["float32", "int32"]
        )
        boxes.set_shape((self._max_objects, 4))
        labels.set_shape((self._max_objects,))
        element = {
            "images": image,
            "boxes": boxes,
            "labels": labels,
            "image_id": tf.where(good, tf.gather(self._ids, index), -1),
            "original_size": tf.gather(self._originals, index),
            "image_size": tf.gather(self._sizes, index),
        }
        if masks:
            element["masks"], element["mask_grids"] = tf.numpy_function(
                self._draw, [index, good, flip], ["uint8", "float32"]
            )
            element["masks"].set_shape((self._max_objects, SIDE, SIDE))
            element["mask_grids"].set_shape((self._max_objects, 2, SIDE + 1))
        return element

    def read_augmented(self, index, flip, number, masks, augment):
        """What `read` returns, of an image that was changed at random.

        Args:
            index, flip, masks: As in `read`.
            number: Int64 tensor, another one for every image and epoch.
            augment: Function of an array uint8, boxes, labels, masks or
                `None` and `number` that returns the first four and the size
                after resizing and after padding.
        """
        import tensorflow as tf

        kinds = ["uint8", "float32", "int32", "int64", "int32", "int32"]
        shapes = [(None, None, 3), (self._max_objects, 4), (self._max_objects,)]
        shapes += [(), (2,), (2,)]
        names = ["images", "boxes", "labels", "image_id"]
        names += ["original_size", "image_size"]
        if masks:
            kinds += ["uint8", "float32"]
            shapes += [(self._max_objects, SIDE, SIDE)]
            shapes += [(self._max_objects, 2, SIDE + 1)]
            names += ["masks", "mask_grids"]

        def change(index, flip, number):
            return self._augmented(index, flip, number, masks, augment)

        found = tf.numpy_function(change, [index, flip, number], kinds)
        for tensor, shape in zip(found, shapes):
            tensor.set_shape(shape)
        return dict(zip(names, found))

    def largest(self, indices, numbers, augment=None):
        """The size that a batch of images is padded to, without reading them.

        Args:
            indices, numbers: Arrays int64, of each image as in
                `read_augmented`.
            augment: As there; `None` for images that are not changed.

        Returns:
            Array int32, height and width.
        """
        if augment is None:
            return self._padded[indices].max(axis=0)
        sizes = []
        for index, number in zip(indices, numbers):
            image = self._images[index]
            # What is drawn depends on sizes and boxes.
            nothing = np.broadcast_to(
                np.uint8(0), (image.height, image.width, 3)
            )
            objects = (
                image.boxes[: self._max_objects],
                image.labels[: self._max_objects],
            )
            sizes.append(augment(nothing, *objects, None, number)[-1])
        return np.max(sizes, axis=0).astype("int32")

    def _augmented(self, index, flip, number, masks, augment):
        pixels, index, _ = self._decode(index)
        image = self._images[index]
        rows = self._max_objects
        planes = None
        if masks:
            size = image.height, image.width
            planes = draw_planes(image.segmentations[:rows], *size)
        pixels, boxes, labels, planes, size, padded = augment(
            pixels, image.boxes[:rows], image.labels[:rows], planes, number
        )
        more = rows - len(labels)
        result = [
            np.ascontiguousarray(pixels),
            np.pad(boxes, ((0, more), (0, 0)), constant_values=-1),
            np.pad(labels, (0, more), constant_values=-1),
            np.int64(image.id),
            np.array(pixels.shape[:2], "int32"),
            np.array(size, "int32"),
        ]
        if masks:
            result += crop_objects(
                encode_planes(planes),
                pixels.shape[:2],
                size,
                padded,
                flip,
                rows,
            )
        return result

    def _decode(self, index):
        """The image, its place in the table, and whether there is one."""
        for number in range(index, index + (ATTEMPTS if self._replace else 1)):
            number %= len(self._images)
            image = self._images[number]
            try:
                return read_image(image), np.int64(number), np.True_
            except ValueError as error:
                self._bad_images.add(image.path, error)
        if self._replace:
            raise ValueError(
                "There must be a good image among so many. Received: "
                f"{ATTEMPTS} bad ones in a row, up to {printable(image.path)}"
            )
        nothing = np.zeros((1, 1, 3), "uint8")  # It is resized.
        return nothing, np.int64(number), np.False_

    def _objects(self, index, good):
        boxes = np.full((self._max_objects, 4), -1, "float32")
        labels = np.full(self._max_objects, -1, "int32")
        image = self._images[index]
        number = min(len(image.labels), self._max_objects) if good else 0
        boxes[:number] = image.boxes[:number]
        labels[:number] = image.labels[:number]
        return boxes, labels

    def _draw(self, index, good, flip):
        segmentations = self._images[index].segmentations
        return crop_objects(
            segmentations[: self._max_objects if good else 0],
            self._originals[index],
            self._sizes[index],
            self._padded[index],
            flip,
            self._max_objects,
        )


def read_image(image):
    """Decodes an image as its annotations see it.

    COCO's boxes belong to the pixels as they are stored, whatever EXIF says
    about the orientation of the camera. Where the annotations' size is that
    of the upright image alone, the image is turned.

    Args:
        image: `Image`.

    Returns:
        Array uint8 `(height, width, 3)`.

    Raises:
        ValueError: If the file cannot be read or has another size.
    """
    try:
        with storage.open_file(image.path, "rb") as file:
            contents = file.read()
    except OSError as error:
        raise ValueError(
            f"{printable(image.path)} cannot be read: {error}"
        ) from error
    size = image.height, image.width
    stored = decode_contents(contents, image.path, upright=False)
    if stored.shape[:2] == size:
        return stored.numpy()
    upright = turn_upright(stored, TURNS[orientation(contents)])
    if upright.shape[:2] == size:
        return upright.numpy()
    raise ValueError(
        "An image must have the size that the annotations give. Received: "
        f"{printable(image.path)} of {tuple(stored.shape[:2])}, not {size}"
    )
