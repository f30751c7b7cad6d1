"""Scenes of clothes with boxes and masks, as a COCO folder, from no download.

Items of the embedded Fashion-MNIST lie on textured backgrounds, at random
sizes and places, some behind others. A pixel belongs to the mask of an item
exactly if the item was drawn there and nothing after it.
"""

import functools
import json
import math
import os

import numpy as np

from keras_epsanet import storage
from keras_epsanet.atomic import whole
from keras_epsanet.data.fashion_mnist import CLASS_NAMES, FILE
from keras_epsanet.data.textures import background, resizing

# Side of an item relative to the shorter side of the image. At 256 pixels
# all of COCO's three sizes occur: areas below 32², up to 96², above.
SIZES = (0.12, 0.85)
# An item that would leave less of another one is put somewhere else.
VISIBLE = 0.5
MIN_AREA = 16
_ATTEMPTS = 20
_PARTS = {"train": "train", "val": "test"}  # Of Fashion-MNIST.


def write(
    folder,
    num_train,
    num_val,
    image_size=256,
    seed=0,
    objects=(1, 6),
    classes=CLASS_NAMES,
):
    """Writes scenes as the folder of a COCO data set.

        folder/annotations/instances_train.json, instances_val.json
        folder/train/000000000001.jpg ...
        folder/val/000000000001.jpg ...

    The annotations have areas, boxes and masks (run lengths) of what is
    visible; no crowds. The categories are those of Fashion-MNIST's ten
    classes that are in `classes`; each keeps its id among all, from 1 to 10.
    Items of the training scenes are from its training images, those of the
    validation scenes from its test images.

    The same arguments give the same bytes, and fewer scenes are the first of
    more.

    Args:
        folder: Path of a folder that does not exist yet. It appears when
            all is written.
        num_train, num_val: Integers, numbers of scenes.
        image_size: Integer or pair `(height, width)`, in pixels, at least
            64.
        seed: Integer from 0 up.
        objects: Pair of integers, least and greatest number of items that
            are put into a scene. Some find no place between many others.
        classes: Names of the classes whose items occur.

    Raises:
        ValueError: If the folder exists, or an argument is out of range.

    Example:

    >>> write("clothes", num_train=2, num_val=1, image_size=64)
    >>> sorted(os.listdir("clothes")), os.listdir("clothes/val")
    (['annotations', 'train', 'val'], ['000000000001.jpg'])
    """
    folder = storage.abspath(folder)
    if storage.exists(folder):
        raise ValueError(
            f"`folder` must not exist yet. Received: folder={folder}"
        )
    for name, number in (("num_train", num_train), ("num_val", num_val)):
        if number < 0:
            raise ValueError(
                f"`{name}` must not be negative. Received: {name}={number}"
            )
    classes = tuple(classes)
    _check("train", image_size, seed, objects, classes)
    with whole(folder) as temporary:
        os.makedirs(os.path.join(temporary, "annotations"))
        for split, number in (("train", num_train), ("val", num_val)):
            scenes = (
                compose(split, i, image_size, seed, objects, classes)
                for i in range(number)
            )
            _write_split(temporary, split, scenes, seed, classes)


def compose(
    split, index, image_size=256, seed=0, objects=(1, 6), classes=CLASS_NAMES
):
    """Makes one scene.

    Args:
        split: `"train"` or `"val"`.
        index: Integer, number of the scene from 0 up.
        image_size, seed, objects, classes: As in `write`.

    Returns:
        Three arrays: the image, uint8 `(height, width, 3)`; the classes of
        its n items, int64 `(n,)`, from 0 to 9; their masks, bool
        `(n, height, width)`, which do not overlap.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> image, labels, masks = compose("val", 0, objects=(3, 3))
    >>> image.shape, [CLASS_NAMES[label] for label in labels]
    ((256, 256, 3), ['Bag', 'Ankle boot', 'Coat'])
    """
    classes = tuple(classes)
    height, width = _check(split, image_size, seed, objects, classes)
    number = list(_PARTS).index(split)
    random = np.random.default_rng((seed, number, index))
    items, numbers = _items(_PARTS[split])
    wanted = [i for i, name in enumerate(CLASS_NAMES) if name in classes]
    candidates = np.flatnonzero(np.isin(numbers, wanted))
    image = background(random, height, width)
    masks, labels = [], []
    for _ in range(random.integers(objects[0], objects[1] + 1)):
        choice = candidates[random.integers(len(candidates))]
        for _ in range(_ATTEMPTS):
            item = _place(random, items[choice], height, width)
            if _fits(item[1], masks):
                break
        else:
            continue
        picture, mask = item
        tint = random.uniform(0.6, 1, 3)
        image = np.where(mask[..., None], picture[..., None] * tint, image)
        # What lies behind ends where this item begins.
        masks = [(whole, seen & ~mask) for whole, seen in masks]
        masks.append((mask.sum(), mask))
        labels.append(numbers[choice])
    seen = np.array([seen for _, seen in masks], bool)
    return (
        np.clip(np.round(image), 0, 255).astype("uint8"),
        np.array(labels, "int64"),
        seen.reshape(-1, height, width),
    )


def _check(split, image_size, seed, objects, classes):
    if split not in _PARTS:
        raise ValueError(
            f'`split` must be "train" or "val". Received: split={split}'
        )
    size = (image_size,) * 2 if np.ndim(image_size) == 0 else image_size
    if len(size) != 2 or min(size) < 64:
        raise ValueError(
            "`image_size` must be one or two integers of at least 64. "
            f"Received: image_size={image_size}"
        )
    if seed < 0:
        raise ValueError(f"`seed` must not be negative. Received: seed={seed}")
    if len(objects) != 2 or not 0 <= objects[0] <= objects[1]:
        raise ValueError(
            "`objects` must be a least and a greatest number. "
            f"Received: objects={objects}"
        )
    if not set() < set(classes) <= set(CLASS_NAMES):
        raise ValueError(
            f"`classes` must be one or more of {', '.join(CLASS_NAMES)}. "
            f"Received: classes={classes}"
        )
    return size


@functools.lru_cache
def _items(part):
    """Pairs of item and silhouette `(2, 28, 28)` from 0 to 1, and classes."""
    with np.load(FILE) as arrays:
        images = arrays[f"{part}_images"][..., 0]
        labels = arrays[f"{part}_labels"]
    # The pictures are black around the item but for specks, and the item
    # itself has black dots: count the neighbors, and keep bright straps.
    lit = images > 0
    padded = np.pad(lit, ((0, 0), (1, 1), (1, 1))).astype("uint8")
    count = sum(
        padded[:, i : i + 28, j : j + 28] for i in range(3) for j in range(3)
    )
    silhouettes = (count >= 6) | ((count == 5) & lit) | (images >= 48)
    return np.stack([images / 255, silhouettes], 1), labels


def _place(random, item, height, width):
    """An item at a random size and place: gray values and mask."""
    low, high = np.log(SIZES)
    side = round(min(height, width) * math.exp(random.uniform(low, high)))
    beyond = side // 8  # As much may be cut off by the border.
    top = random.integers(-beyond, height - side + beyond + 1)
    left = random.integers(-beyond, width - side + beyond + 1)
    weights = resizing(side)
    # Rounded, for sums may differ in the last digits between processors.
    drawn, silhouette = np.round(weights @ item @ weights.T, 6)
    picture = np.zeros((height, width))
    mask = np.zeros((height, width), bool)
    rows = slice(max(top, 0), min(top + side, height))
    columns = slice(max(left, 0), min(left + side, width))
    inner = (
        slice(rows.start - top, rows.stop - top),
        slice(columns.start - left, columns.stop - left),
    )
    picture[rows, columns] = 255 * drawn[inner]
    mask[rows, columns] = silhouette[inner] >= 0.5
    return picture, mask


def _fits(mask, masks):
    return mask.sum() >= MIN_AREA and all(
        (seen & ~mask).sum() >= max(MIN_AREA, VISIBLE * whole)
        for whole, seen in masks
    )


def _write_split(folder, split, scenes, seed, classes):
    import tensorflow as tf

    os.makedirs(os.path.join(folder, split))
    images, annotations = [], []
    for index, (scene, labels, masks) in enumerate(scenes):
        name = f"{index + 1:012}.jpg"
        encoded = tf.io.encode_jpeg(scene, quality=95).numpy()
        with open(os.path.join(folder, split, name), "wb") as file:
            file.write(encoded)
        images.append(
            {
                "id": index + 1,
                "file_name": name,
                "height": scene.shape[0],
                "width": scene.shape[1],
                "license": 1,
            }
        )
        for label, mask in zip(labels, masks):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": int(label) + 1,
                    "iscrowd": 0,
                    **_measure(mask),
                }
            )
    path = os.path.join(folder, "annotations", f"instances_{split}.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(_contents(images, annotations, seed, classes), file)


def _contents(images, annotations, seed, classes):
    """What stands in a file of annotations."""
    return {
        "info": {"description": "Scenes of Fashion-MNIST items", "seed": seed},
        "licenses": [
            {
                "id": 1,
                "name": "MIT, Zalando SE",
                "url": "https://github.com/zalandoresearch/fashion-mnist",
            }
        ],
        "categories": [
            {"id": i, "name": name, "supercategory": "clothes"}
            for i, name in enumerate(CLASS_NAMES, start=1)
            if name in classes
        ],
        "images": images,
        "annotations": annotations,
    }


def _measure(mask):
    """Area, box and run lengths of a mask, as COCO writes them."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    (top, bottom), (left, right) = rows[[0, -1]], columns[[0, -1]]
    # Down the columns, alternately outside and inside.
    pixels = mask.T.ravel()
    ends = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    counts = np.diff(ends, prepend=0, append=pixels.size).tolist()
    return {
        "area": int(mask.sum()),
        "bbox": [
            int(left),
            int(top),
            int(right - left + 1),
            int(bottom - top + 1),
        ],
        "segmentation": {
            "size": list(mask.shape),
            "counts": [0, *counts] if pixels[0] else counts,
        },
    }
