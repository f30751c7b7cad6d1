"""Where a detector's images come from: a folder of COCO's form."""

from keras_epsanet.data import coco


def open_annotations(folder, year=""):
    """Opens a folder of COCO's form, without its images yet.

    Args:
        folder: Folder with `annotations/instances_train.json`,
            `instances_val.json`, `train` and `val`.
        year: String behind these names, such as `"2017"`.

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
    annotations = {
        split: coco.Annotations(
            f"{folder}/annotations/instances_{split}{year}.json",
            f"{folder}/{split}{year}",
        )
        for split in ("train", "val")
    }
    if not annotations["val"].images:
        raise ValueError(
            "There must be an image to evaluate with. "
            f"Received: {folder}, without any"
        )
    return annotations
