"""Reads what a COCO annotation file holds, checks it and completes it."""

import collections
import contextlib
import io
import json
import math
import os

from keras_epsanet import storage
from keras_epsanet.data.coco.masks import encode, has_mask

# A mask of them takes a gigabyte while it is drawn.
_MOST_PIXELS = 2**30


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
        # Editors of Windows begin files with a byte order mark.
        with storage.open_file(path, encoding="utf-8-sig") as file:
            contents = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"`annotations` must be a JSON file of COCO's form: {error}. "
            f"Received: annotations={path}"
        ) from error
    try:
        return complete(contents)
    except ValueError as error:
        raise ValueError(f"{error}, in annotations={path}") from None


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
            "COCO's annotations need pycocotools: pip install pycocotools"
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
    _check_lists(contents)
    images = _by_id(contents["images"], "image")
    for image in images.values():
        _check_size(image)
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
        if not _is_area(annotation.get("area")):
            image = images.get(annotation["image_id"])
            added["area"] = _area(annotation, image)
        completed.append({**annotation, **added} if added else annotation)
    return {**contents, "annotations": completed}


def _check_lists(contents):
    kinds = ("images", "annotations", "categories")
    missing = kinds
    if isinstance(contents, dict):
        missing = [kind for kind in kinds if kind not in contents]
    if missing:
        raise ValueError(
            "Annotations must have images, annotations and categories. "
            f"Received: {type(contents).__name__} without {', '.join(missing)}"
        )
    for kind in kinds:
        if not isinstance(contents[kind], list):
            raise ValueError(
                f"`{kind}` must be a list. Received: {kind}={contents[kind]!r}"
            )
        for i, entry in enumerate(contents[kind]):
            if not isinstance(entry, dict):
                raise ValueError(
                    f"Each of the {kind} must be a dictionary. "
                    f"Received: {kind}[{i}]={entry!r}"
                )


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
    """Whether it is an integer that arrays can hold."""
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return is_integer and -(2**63) <= value < 2**63


def _is_number(value):
    """Whether it is a number, or none in the sense of IEEE 754."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < 2**1023  # More are no floats.
    return isinstance(value, float)


def _is_area(value):
    return _is_number(value) and math.isfinite(value) and value >= 0


def _check_size(image):
    for name in ("width", "height"):
        if not _is_integer(image.get(name)) or image[name] < 1:
            raise ValueError(
                f"An image must have a {name} in pixels. Received: image "
                f"{image['id']} with {name}={image.get(name)!r}"
            )
    if image["width"] * image["height"] > _MOST_PIXELS:
        raise ValueError(
            f"An image must not have more than {_MOST_PIXELS:,} pixels. "
            f"Received: image {image['id']} with width={image['width']}, "
            f"height={image['height']}"
        )


def _check_annotation(annotation, categories):
    box, crowd = annotation.get("bbox"), annotation.get("iscrowd")
    numbers = [annotation.get(x) for x in ("image_id", "category_id")]
    if numbers[0] is None:
        fault = "no image_id"
    elif not _is_integer(numbers[0]):
        fault = f"image_id={numbers[0]!r}, which is no integer"
    elif (
        not isinstance(box, (list, tuple))
        or len(box) != 4
        or not all(map(_is_number, box))
    ):
        fault = f"bbox={box}, which are not four numbers"
    elif not _is_integer(numbers[1]) or numbers[1] not in categories:
        fault = f"category_id={numbers[1]!r}, which is no category's"
    elif not (crowd is None or (isinstance(crowd, int) and crowd in (0, 1))):
        fault = f"iscrowd={crowd!r}, which is neither 0 nor 1"
    else:
        return
    raise ValueError(
        "An annotation must have an image, a box and a category. Received: "
        f"annotation {annotation.get('id')} of image {numbers[0]} with {fault}"
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
