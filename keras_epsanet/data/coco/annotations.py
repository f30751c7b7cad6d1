"""Reads the annotations of a COCO data set and checks them."""

import collections
import functools
import math
import os
import warnings
from typing import NamedTuple

import numpy as np

from keras_epsanet import storage
from keras_epsanet.data.bad_images import BadImages
from keras_epsanet.data.coco.contents import (
    check_pycocotools,
    load_coco,
    read_contents,
)
from keras_epsanet.data.coco.masks import has_mask

__all__ = ["Annotations", "Image", "load_coco"]

_NAMED = 3  # Of what is skipped, in the warning.


class Image(NamedTuple):
    """An image and its objects, without crowds.

    Attributes:
        id: Integer, the number of the image in the file.
        path: String.
        height, width: Integers, in pixels.
        boxes: Float32 array `(objects, 4)`, corners in pixels.
        labels: Int32 array `(objects,)`.
        segmentations: List of what the file has as `segmentation`.
        object_ids: List of the objects' ids.
    """

    id: int
    path: str
    height: int
    width: int
    boxes: np.ndarray
    labels: np.ndarray
    segmentations: list
    object_ids: list

    def select(self, chosen):
        """The same image with some of its objects.

        Args:
            chosen: List of booleans, one for each object.

        Returns:
            `Image`.
        """
        chosen = np.array(chosen, bool)
        return self._replace(
            boxes=self.boxes[chosen],
            labels=self.labels[chosen],
            segmentations=[
                x for x, keep in zip(self.segmentations, chosen) if keep
            ],
            object_ids=[x for x, keep in zip(self.object_ids, chosen) if keep],
        )


class Annotations:
    """The images, objects and classes of a COCO annotation file.

    Classes are numbered from 0 on, in the order of the categories' ids.
    Objects that no detector could learn are left out, counted in `skipped`
    and named in a warning: boxes that are not finite, have a side of less
    than a pixel or lie outside of the image, and objects of unknown images.
    Crowds are left out too, without a warning: they matter for evaluation
    only, which reads the file itself.

    Args:
        path: The JSON file.
        images: Folder of the images.

    Attributes:
        path: String.
        images: List of `Image`, in the order of the file.
        class_names: List of strings.
        category_ids: List of the ids of the categories, by label.
        skipped: Dictionary from reasons to numbers of objects.
        bad_images: `BadImages`, to which `load` adds images that cannot be
            read.

    Raises:
        ImportError: If pycocotools is not installed.
        ValueError: If the file is no such JSON, an image is missing, an id
            occurs twice, or an entry lacks what it needs, such as `bbox`.
    """

    def __init__(self, path, images):
        check_pycocotools()
        self.path = os.fspath(path)
        contents = read_contents(self.path)
        _check_names(contents, self.path)
        categories = sorted(contents["categories"], key=lambda x: x["id"])
        self.category_ids = [category["id"] for category in categories]
        self.class_names = [category["name"] for category in categories]
        labels = {number: i for i, number in enumerate(self.category_ids)}
        objects = collections.defaultdict(list)
        for annotation in contents["annotations"]:
            objects[annotation["image_id"]].append(annotation)
        skipped = collections.defaultdict(list)
        self.images = []
        for image in contents["images"]:
            found = []
            for annotation in objects.pop(image["id"], []):
                if annotation["iscrowd"]:
                    continue
                reason = _fault(annotation, image)
                if reason:
                    skipped[reason].append(annotation["id"])
                else:
                    found.append(annotation)
            self.images.append(_to_image(image, images, found, labels))
        for annotations in objects.values():
            skipped["unknown image"] += [x["id"] for x in annotations]
        self._check_files(images)
        self.bad_images = BadImages(len(self.images))
        self.skipped = {}
        for reason, ids in skipped.items():
            self._skip(reason, ids)

    def _check_files(self, folder):
        folders = {os.path.dirname(image.path) for image in self.images}
        present = {
            os.path.join(path, name)
            for path in folders
            if storage.isdir(path)
            for name in storage.listdir(path)
        }
        missing = [x for x in self.images if x.path not in present]
        if missing:
            raise ValueError(
                "`images` must hold all images of the annotations. Received: "
                f"images={folder} without {len(missing)} of "
                f"{len(self.images)}, the first is image {missing[0].id}, "
                f"{os.path.relpath(missing[0].path, folder)!r}, in "
                f"annotations={self.path}"
            )

    @property
    def bad(self):
        """List of the names of the images that could not be read so far."""
        return self.bad_images.names

    @functools.cached_property
    def images_with_masks(self):
        """`images` without the objects of which no mask can be drawn.

        They are counted in `skipped` and named in a warning when this is
        asked for the first time.

        Raises:
            ValueError: If there are objects, but none with a mask.
        """
        images, skipped = [], []
        for image in self.images:
            size = image.height, image.width
            drawable = [has_mask(x, *size) for x in image.segmentations]
            skipped += [
                number
                for number, draw in zip(image.object_ids, drawable)
                if not draw
            ]
            images.append(image if all(drawable) else image.select(drawable))
        if skipped and not any(len(image.labels) for image in images):
            raise ValueError(
                "There must be masks to learn from. "
                f"Received: {self.path}, of whose {len(skipped)} objects none "
                "has a `segmentation` that can be drawn"
            )
        if skipped:
            self._skip("no mask", skipped)
        return images

    def _skip(self, reason, ids):
        self.skipped[reason] = len(ids)
        warnings.warn(
            f"{len(ids)} objects of {self.path} are skipped ({reason}): "
            f"annotations {name_some(ids)}",
            stacklevel=3,
        )


def name_some(ids):
    """The first of some numbers as text, for a message."""
    named = ", ".join(str(x) for x in ids[:_NAMED])
    return named + (", ..." if len(ids) > _NAMED else "")


def _check_names(contents, path):
    for kind, entries, name in (
        ("image", contents["images"], "file_name"),
        ("category", contents["categories"], "name"),
    ):
        for entry in entries:
            value = entry.get(name)
            if isinstance(value, str) and _is_text(value):
                continue
            fault = f"without {name}"
            if value is not None:
                fault = f"with {name}={value!r}"
            raise ValueError(
                f"Each {kind} must have a {name}. "
                f"Received: {kind} {entry['id']} {fault}, in annotations={path}"
            )


def _is_text(value):
    """Whether a file can be named so; JSON can hold halves of characters."""
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


def _fault(annotation, image):
    """Why an object cannot be used, or `None`."""
    x, y, width, height = annotation["bbox"]
    if not all(math.isfinite(n) for n in (x, y, width, height)):
        return "box not finite"
    if width < 1 or height < 1:
        return "side of less than a pixel"
    common = [
        min(start + size, limit) - max(start, 0)
        for start, size, limit in (
            (x, width, image["width"]),
            (y, height, image["height"]),
        )
    ]
    if min(common) <= 0:
        return "outside of the image"
    return None


def _to_image(image, folder, objects, labels):
    boxes = np.array([x["bbox"] for x in objects], "float32").reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    limits = np.array(2 * [image["width"], image["height"]], "float32")
    return Image(
        image["id"],
        os.path.join(folder, image["file_name"]),
        image["height"],
        image["width"],
        np.clip(boxes, 0, limits),
        np.array([labels[x["category_id"]] for x in objects], "int32"),
        [x.get("segmentation") for x in objects],
        [x["id"] for x in objects],
    )
