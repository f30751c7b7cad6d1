"""Reads the annotations of a COCO data set and checks them."""

import collections
import contextlib
import io
import json
import math
import os
import warnings
from typing import NamedTuple

import numpy as np

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
    """

    id: int
    path: str
    height: int
    width: int
    boxes: np.ndarray
    labels: np.ndarray
    segmentations: list


class Annotations:
    """The images, objects and classes of a COCO annotation file.

    Classes are numbered from 0 on, in the order of the categories' ids.
    Objects that no detector could learn are left out, counted in `skipped`
    and named in a warning: boxes that are not finite, have a side of less
    than a pixel or lie outside of the image, unknown categories or images.
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

    Raises:
        ImportError: If pycocotools is not installed.
        ValueError: If the file is no such JSON or an image is missing.
    """

    def __init__(self, path, images):
        self.path = os.fspath(path)
        contents = _read(self.path)
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
                if annotation.get("iscrowd"):
                    continue
                reason = _fault(annotation, image, labels)
                if reason:
                    skipped[reason].append(annotation.get("id"))
                else:
                    found.append(annotation)
            self.images.append(_to_image(image, images, found, labels))
        for annotations in objects.values():
            skipped["unknown image"] += [x.get("id") for x in annotations]
        _check_files(self.images, images)
        self.skipped = {reason: len(ids) for reason, ids in skipped.items()}
        for reason, ids in skipped.items():
            named = ", ".join(str(x) for x in ids[:_NAMED])
            more = ", ..." if len(ids) > _NAMED else ""
            warnings.warn(
                f"{len(ids)} objects of {path} are skipped ({reason}): "
                f"annotations {named}{more}"
            )

    def masks(self, index, size=None):
        """Draws the masks of an image's objects.

        Args:
            index: Integer, place of the image in `images`.
            size: Pair `(height, width)`, to which polygons are scaled
                before they are drawn; `None` for the image's.

        Returns:
            Array uint8 `(objects, height, width)` of 0 and 1.

        Raises:
            ValueError: If an object has no mask.
        """
        import pycocotools.mask

        image = self.images[index]
        size = size or (image.height, image.width)
        masks = np.zeros((len(image.labels), *size), "uint8")
        for i, segmentation in enumerate(image.segmentations):
            if not segmentation:
                raise ValueError(
                    "All objects must have a mask. "
                    f"Received: none in image {image.id} of {self.path}"
                )
            if isinstance(segmentation, list):
                scale = (size[1] / image.width, size[0] / image.height)
                polygons = [
                    (np.reshape(x, (-1, 2)) * scale).ravel()
                    for x in segmentation
                ]
                runs = pycocotools.mask.frPyObjects(polygons, *size)
                masks[i] = pycocotools.mask.decode(runs).any(axis=-1)
                continue
            if isinstance(segmentation["counts"], list):
                segmentation = pycocotools.mask.frPyObjects(
                    segmentation, image.height, image.width
                )
            mask = pycocotools.mask.decode(segmentation)
            # The nearest pixel, as seen from the middle of the new one.
            rows, columns = (
                np.minimum((np.arange(n) + 0.5) * m / n, m - 1).astype(int)
                for n, m in zip(size, mask.shape)
            )
            masks[i] = mask[rows[:, None], columns]
        return masks


def load_coco(annotations):
    """Opens annotations with pycocotools, which prints nothing here.

    Args:
        annotations: Path of a JSON file or its contents, a dictionary.

    Returns:
        A `pycocotools.coco.COCO`.

    Raises:
        ImportError: If pycocotools is not installed.
        ValueError: If it is no JSON of COCO's form.
    """
    try:
        from pycocotools.coco import COCO
    except ImportError as error:
        raise ImportError(
            "COCO's annotations need pycocotools: "
            "pip install keras-epsanet[detection]"
        ) from error
    if not isinstance(annotations, dict):
        annotations = _read(os.fspath(annotations))
    coco = COCO()
    coco.dataset = annotations
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _read(path):
    try:
        with open(path, encoding="utf-8") as file:
            contents = json.load(file)
        missing = {"images", "annotations", "categories"} - contents.keys()
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(
            f"`annotations` must be a JSON file of COCO's form: {error}. "
            f"Received: annotations={path}"
        ) from error
    if missing:
        raise ValueError(
            "`annotations` must have images, annotations and categories. "
            f"Received: annotations={path} without {', '.join(missing)}"
        )
    return contents


def _fault(annotation, image, labels):
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
    if annotation["category_id"] not in labels:
        return "unknown category"
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
    )


def _check_files(images, folder):
    folders = {os.path.dirname(image.path) for image in images}
    present = {
        os.path.join(path, name)
        for path in folders
        if os.path.isdir(path)
        for name in os.listdir(path)
    }
    missing = [image.path for image in images if image.path not in present]
    if missing:
        raise ValueError(
            "`images` must hold all images of the annotations. Received: "
            f"images={folder} without {len(missing)} of {len(images)}, the "
            f"first is {os.path.basename(missing[0])}"
        )
