"""Holds images of a data set out where it has no part for that."""

import numpy as np


def split_contents(contents, share, seed):
    """Divides the contents of an annotation file by its images.

    Args:
        contents: Dictionary in COCO's form, as `read_contents` returns it.
        share: Float, share of the images for the second part; both have one
            image at least.
        seed: Integer, which decides about the images.

    Returns:
        Two dictionaries in COCO's form with the same categories, the images
        in the order of the file.

    Raises:
        ValueError: If there are fewer than two images.

    Example:

    >>> images = [{"id": i} for i in range(10)]
    >>> contents = {"images": images, "annotations": [], "categories": []}
    >>> train, val = split_contents(contents, 0.2, seed=0)
    >>> len(train["images"]), len(val["images"])
    (8, 2)
    """
    images = contents["images"]
    if len(images) < 2:
        raise ValueError(
            "There must be two images at least, to train and to evaluate "
            f"with. Received: {len(images)} images"
        )
    number = min(max(1, round(share * len(images))), len(images) - 1)
    order = np.random.default_rng(seed).permutation(len(images))
    held_out = {images[i]["id"] for i in order[:number]}
    return tuple(
        {
            **contents,
            "images": [x for x in images if (x["id"] in held_out) == is_val],
            "annotations": [
                x
                for x in contents["annotations"]
                if (x["image_id"] in held_out) == is_val
            ],
        }
        for is_val in (False, True)
    )
