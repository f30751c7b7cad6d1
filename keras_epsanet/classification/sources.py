"""Where a classifier's images come from: a folder, a catalog, the package."""

import dataclasses
import os

from keras_epsanet import data, storage


@dataclasses.dataclass
class Images:
    """Labeled images to train with and others that are held out.

    Args:
        train: Dataset as the functions of `keras_epsanet.data` return it.
        held_out: Dataset with the same classes.
        source: String, what they were opened with.
        left_out: Dictionary from a reason to the number of files that are
            not used for it.
    """

    train: object
    held_out: object
    source: str
    left_out: dict = dataclasses.field(default_factory=dict)

    @property
    def class_names(self):
        """List of strings."""
        return list(self.train.class_names)

    @property
    def undecodable(self):
        """List of the files that could not be decoded so far."""
        train = getattr(self.train, "undecodable", ())
        return [*train, *self.undecodable_held_out]

    @property
    def undecodable_held_out(self):
        """List of those that are held out."""
        return list(getattr(self.held_out, "undecodable", ()))

    def describe(self):
        """Returns what must stay the same while a training goes on."""
        return {
            "source": self.source,
            "class_names": self.class_names,
            "train": self.train.num_images,
            "held_out": self.held_out.num_images,
        }


def open_images(folder=None, tfds=None, val_share=0.2):
    """Opens images and decides which of them are held out.

    Args:
        folder: Folder with a sub-folder for each class, or with such folders
            `train` and `val` or `test`; `None` for something else.
        tfds: Name of a dataset of TensorFlow Datasets; `None` for something
            else. If both are `None`, the images are those of
            `keras_epsanet.data.fashion_mnist`.
        val_share: Float, the share that is held out where no part is for it.

    Returns:
        `Images`.

    Raises:
        ImportError: If TensorFlow Datasets is needed and not installed.
        ValueError: If there are no such images, their two parts have
            different classes, or `val_share` is 0.

    Example:

    >>> images = open_images()
    >>> images.train.num_images, images.held_out.num_images
    (10000, 2000)
    """
    if not val_share:
        raise ValueError(
            "`val_share` must be above 0, for the best epoch is chosen by "
            f"images that are held out. Received: val_share={val_share}"
        )
    if tfds is not None:
        return Images(*_open_tfds(tfds, val_share), source=f"tfds {tfds}")
    if folder is None:
        parts = data.fashion_mnist("train"), data.fashion_mnist("test")
        return Images(*parts, source="Fashion-MNIST")
    source = storage.abspath(folder)
    for name in ("val", "test"):
        paths = [os.path.join(folder, part) for part in ("train", name)]
        if all(map(storage.isdir, paths)):
            parts = [data.image_folder(path) for path in paths]
            _check_same_classes(paths, parts)
            return Images(*parts, source, _left_out(*parts))
    parts = [
        data.image_folder(folder, subset, held_out_share=val_share)
        for subset in ("train", "held_out")
    ]
    # Both parts know of all files of the folder.
    return Images(*parts, source, _left_out(parts[0]))


def check_classes(images, number):
    """Raises if images have another number of classes than they must.

    Args:
        images: `Images`.
        number: Integer, or `None` for any.

    Raises:
        ValueError: With the names of the classes.
    """
    names = images.class_names
    if number not in (None, len(names)):
        raise ValueError(
            f"The images have {len(names)} classes: {names}. "
            f"Received: number={number}"
        )


def _open_tfds(name, val_share):
    train = data.tfds(name, "train")
    for split in ("validation", "test"):
        if split in train.splits:
            return train, data.tfds(name, split)
    kept = min(max(round(100 * (1 - val_share)), 1), 99)
    return (
        data.tfds(name, f"train[:{kept}%]"),
        data.tfds(name, f"train[{kept}%:]"),
    )


def _check_same_classes(paths, parts):
    train, held_out = parts
    if train.class_names != held_out.class_names:
        raise ValueError(
            "Both folders must have the same classes. Received: "
            f"{paths[0]} with {train.class_names}, "
            f"{paths[1]} with {held_out.class_names}"
        )


def _left_out(*parts):
    total = {}
    for part in parts:
        for reason, count in part.left_out.items():
            total[reason] = total.get(reason, 0) + count
    return total
