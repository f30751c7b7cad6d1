"""Where a detector's images come from: a data set of COCO's form."""

from keras_epsanet.data import coco
from keras_epsanet.data.coco.layouts import WHOLE, find_parts

FORMS = (
    "a folder with annotations/instances_train.json, instances_val.json, "
    "train and val, or one .json file of COCO's form"
)


def open_annotations(path):
    """Opens a data set of COCO's form, without its images yet.

    Args:
        path: What `keras_epsanet.data.coco.layouts.find_parts` knows.

    Returns:
        Dictionary of the `keras_epsanet.data.coco.Annotations` `"train"` and
        `"val"`.

    Raises:
        OSError, ValueError: If a file is missing or is none of COCO's.
        ValueError: If there is no image to evaluate with.

    Example:

    >>> from keras_epsanet.data import scenes
    >>> scenes.write("clothes", num_train=2, num_val=1, image_size=64)
    >>> len(open_annotations("clothes")["train"].images)
    2
    """
    return {part: open_part(path, part) for part in ("train", "val")}


def open_part(path, part):
    """Opens one part of a data set of COCO's form.

    Args:
        path: As in `open_annotations`.
        part: `"train"`, `"val"` or `"test"`. One file is all of them.

    Returns:
        `keras_epsanet.data.coco.Annotations`.

    Raises:
        OSError, ValueError: As of `open_annotations`.
    """
    found = find_parts(path)
    pair = found.get(part) or found.get(WHOLE)
    if pair is None:
        there = f", of which there is {', '.join(found)}" if found else ""
        raise ValueError(
            f"The data must be {FORMS}. Received: {path} without {part}{there}"
        )
    annotations = coco.Annotations(*pair)
    if part != "train" and not annotations.images:
        raise ValueError(
            "There must be an image to evaluate with. "
            f"Received: {path}, without any"
        )
    return annotations
