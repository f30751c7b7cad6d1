"""Reads what a COCO annotation file holds, checks it and completes it."""

import collections
import contextlib
import io
import json
import math
import os

from keras_epsanet import storage
from keras_epsanet.data.coco.masks import encode, has_mask


def read_contents(path):
    """Reads a COCO annotation file, whose contents are then complete.

    Args:
        path: The JSON file.

    Returns:
        Dictionary, as `complete` returns it.

    Raises:
        ImportError: If pycocotools is not installed.
        ValueError: If the file is no such JSON, or as in `complete`.
    """
    try:
        with storage.open_file(path, encoding="utf-8") as file:
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
    return complete(contents)


def load_coco(annotations):
    """Opens annotations with pycocotools, which prints nothing here.

    Args:
        annotations: Path of a JSON file or its contents, a dictionary.

    Returns:
        A `pycocotools.coco.COCO` of complete contents. Where other objects
        have masks, one without a mask that can be drawn has its box as its
        mask.

    Raises:
        ImportError: If pycocotools is not installed.
        ValueError: If it is no JSON of COCO's form, or as in `complete`.
    """
    check_pycocotools()
    from pycocotools.coco import COCO

    if isinstance(annotations, dict):
        contents = complete(annotations)
    else:
        contents = read_contents(os.fspath(annotations))
    coco = COCO()
    coco.dataset = {**contents, "annotations": _with_masks(contents)}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def check_pycocotools():
    """Raises an `ImportError` unless pycocotools is installed."""
    try:
        import pycocotools.coco  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "COCO's annotations need pycocotools: "
            "pip install keras-epsanet[detection]"
        ) from error


def complete(contents):
    """Checks annotations and adds what evaluation needs and can be known.

    An object without `iscrowd` is no crowd; without `area` it has that of
    its mask, or of its box; without `id`, or with one that pycocotools takes
    for none, it gets the next number.

    Args:
        contents: Dictionary of `images`, `annotations` and `categories`. It
            stays as it is.

    Returns:
        Dictionary.

    Raises:
        ValueError: If something is missing that cannot be known, a number
            occurs twice, or a size or a box is none.

    Example:

    >>> contents = complete({
    ...     "images": [{"id": 1, "height": 50, "width": 50}],
    ...     "categories": [{"id": 7, "name": "pear"}],
    ...     "annotations": [
    ...         {"image_id": 1, "category_id": 7, "bbox": [9, 9, 20, 20]},
    ...     ],
    ... })
    >>> contents["annotations"][0]["id"], contents["annotations"][0]["area"]
    (1, 400.0)
    """
    images = _by_id(contents["images"], "image")
    for image in images.values():
        for name in ("width", "height"):
            _check_side(image, name)
    categories = _by_id(contents["categories"], "category")
    annotations = contents["annotations"]
    for annotation in annotations:
        _check_annotation(annotation, categories)
    completed = []
    for annotation, number in zip(annotations, _numbers(annotations)):
        added = {}
        if annotation.get("id") != number:
            added["id"] = number
        if annotation.get("iscrowd") is None:
            added["iscrowd"] = 0
        if not isinstance(annotation.get("area"), (int, float)):
            image = images.get(annotation["image_id"])
            added["area"] = _area(annotation, image)
        completed.append({**annotation, **added} if added else annotation)
    return {**contents, "annotations": completed}


def _by_id(entries, kind):
    found = {}
    for entry in entries:
        number = entry.get("id")
        if not _is_integer(number) or number in found:
            raise ValueError(
                f"Each {kind} must have an integer of its own as its id. "
                f"Received: {kind} {entry}"
            )
        found[number] = entry
    return found


def _is_integer(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _check_side(image, name):
    if not _is_integer(image.get(name)) or image[name] < 1:
        raise ValueError(
            f"An image must have a {name} in pixels. "
            f"Received: image {image['id']} with {name}={image.get(name)}"
        )


def _check_annotation(annotation, categories):
    box, category = annotation.get("bbox"), annotation.get("category_id")
    if "image_id" not in annotation:
        fault = "no image_id"
    elif (
        not isinstance(box, (list, tuple))
        or len(box) != 4
        or not all(isinstance(x, (int, float)) for x in box)
    ):
        fault = f"bbox={box}, which are not four numbers"
    elif category not in categories:
        fault = f"category_id={category}, which is no category's"
    else:
        return
    raise ValueError(
        "An annotation must have an image, a box and a category. Received: "
        f"annotation {annotation.get('id')} of image "
        f"{annotation.get('image_id')} with {fault}"
    )


def _numbers(annotations):
    """The ids, and new ones where there is none that pycocotools can use."""
    ids = [annotation.get("id") for annotation in annotations]
    # 0 is what pycocotools has for an object that was not found.
    usable = [_is_integer(i) and i > 0 for i in ids]
    given = [i for i, use in zip(ids, usable) if use]
    twice = [i for i, n in collections.Counter(given).items() if n > 1]
    if twice:
        places = [x for x in annotations if x.get("id") == twice[0]]
        raise ValueError(
            "Each annotation must have an id of its own. Received: annotation "
            f"{twice[0]} of image {places[0].get('image_id')} and of image "
            f"{places[1].get('image_id')}"
        )
    following = iter(range(max(given, default=0) + 1, 2**62))
    return [i if use else next(following) for i, use in zip(ids, usable)]


def _is_drawable(annotation, image):
    return image is not None and has_mask(
        annotation.get("segmentation"), image["height"], image["width"]
    )


def _area(annotation, image):
    """Area of the mask, or of the box."""
    if not _is_drawable(annotation, image):
        return float(annotation["bbox"][2] * annotation["bbox"][3])
    import pycocotools.mask

    runs = encode(annotation["segmentation"], image["height"], image["width"])
    return float(pycocotools.mask.area(runs))


def _with_masks(contents):
    """Copies of the annotations, into which pycocotools writes.

    Where single masks are missing they are boxes.
    """
    images = {image["id"]: image for image in contents["images"]}
    annotations = [dict(x) for x in contents["annotations"]]
    known = [x for x in annotations if x["image_id"] in images]
    drawable = [_is_drawable(x, images[x["image_id"]]) for x in known]
    if any(drawable):
        for annotation, has_own in zip(known, drawable):
            if not has_own:
                image = images[annotation["image_id"]]
                outline = _outline(annotation["bbox"], image)
                annotation["segmentation"] = [outline]
    return annotations


def _outline(box, image):
    """The part of a box in the image as a polygon."""
    if not all(math.isfinite(x) for x in box):
        return 6 * [0]
    (left, right), (top, bottom) = (
        [min(max(x, 0), limit) for x in (first, first + side)]
        for first, side, limit in (
            (box[0], box[2], image["width"]),
            (box[1], box[3], image["height"]),
        )
    )
    return [left, top, right, top, right, bottom, left, bottom]
